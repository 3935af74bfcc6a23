"""Erase and hold (ours, unpublished): forget similarities go to zero, fictitious captions stay where they were.

    L      = forget + retain + consist + hold + values
    forget = mean(S_f²)                retain = MSE(S_r, S_r*)         consist = sq(S(t_r), T(t_r))
    hold   = sq(S(h), T(h))            values = sq(S(rc), T(rc))       sq(a, b) = mean ‖a − b‖²

| symbol | here |
|---|---|
| S, T | unit text embeddings of the student and of the teacher (frozen original) |
| S_f, S_r, S_r* | I S(t)ᵀ of the forget batch and of the retain batch; * with the teacher's caption embeddings |
| t_r | captions of the retain batch |
| h | captions of fictitious personas, half of them with a first or last name from Df |
| rc | partial identities' names with fictitious values |

The forget term is that of `erase` in one direction; hold and values are new. docs/methods.md states the limits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lavis.common.registry import registry
from lavis.trainers.base import Batch, Student, TeacherFeatures
from lavis.trainers.persona import PersonaTrainer, squared_distance


def similarity_terms(
    image_df: torch.Tensor, image_dr: torch.Tensor, student: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """forget and retain as scalars, from unit rows (B, D) of images and of the captions "forget" and "consist"."""
    forget, retain = image_df @ student["forget"].T, image_dr @ student["consist"].T
    return {"forget": forget.pow(2).mean(), "retain": F.mse_loss(retain, image_dr @ teacher["consist"].T)}


@registry.register_trainer("erase_hold")
class EraseAndHold(PersonaTrainer):
    """`erase` on the text tower alone, with fictitious captions held."""

    all_terms = ("forget", "retain", "consist", "hold", "values")

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        draws, fiction = self.draws(batch), self.captions
        groups = {"forget": batch.sets["df"]["captions"], "consist": batch.sets["dr"]["captions"]}
        groups["hold"] = fiction.held(draws, self.params.held)
        groups["values"] = fiction.kept_names(draws, self.params.extra)
        rows, aims = self.embed(groups, live=True), self.embed(groups, live=False)
        held = {name: squared_distance(rows[name], aims[name]) for name in ("consist", "hold", "values")}
        return similarity_terms(self.images(batch, "df"), self.images(batch, "dr"), rows, aims) | held
