"""Erase and hold (ours; no published source): forget similarities to zero, fictitious captions held where they were.

    L      = forget + retain + consist + hold + values
    forget = mean(S_f²)                retain = MSE(S_r, S_r*)         consist = sq(S(t_r), T(t_r))
    hold   = sq(S(h), T(h))            values = sq(S(rc), T(rc))       sq(a, b) = mean ‖a − b‖²

| symbol | here |
|---|---|
| S, T | unit text embeddings of the student and of the teacher (frozen original) |
| S_f, S_r, S_r* | I S(t)ᵀ of the forget batch and of the retain batch; * with the teacher's texts |
| t_r | captions of the retain batch |
| h | captions of fictitious personas, half of them with a first or last name out of Df |
| rc | partial identities' names with fictitious values |

The forget term is that of `erase` in one direction; what is new are hold and values. docs/methods.md states the limits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lavis.common.registry import registry
from lavis.trainers.base import Batch, Student, TeacherFeatures
from lavis.trainers.persona import PersonaTrainer, squared_distance


def similarity_terms(
    image_df: torch.Tensor, image_dr: torch.Tensor, own: dict[str, torch.Tensor], aim: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """forget and retain as scalars, of unit images (B, D) and texts "forget" and "consist" (B, D)."""
    forget, retain = image_df @ own["forget"].T, image_dr @ own["consist"].T
    return {"forget": forget.pow(2).mean(), "retain": F.mse_loss(retain, image_dr @ aim["consist"].T)}


@registry.register_trainer("erase_hold")
class EraseAndHold(PersonaTrainer):
    """erase on the text side alone, with fictitious captions held."""

    all_terms = ("forget", "retain", "consist", "hold", "values")

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        draws, fiction = self.draws(batch), self.captions
        groups = {side: batch.sets[key]["captions"] for side, key in (("forget", "df"), ("consist", "dr"))}
        groups["hold"] = fiction.held(draws, self.params.held)
        groups["values"] = fiction.kept_names(draws, self.params.extra)
        own, aim = self.embed(groups, live=True), self.embed(groups, live=False)
        held = {name: squared_distance(own[name], aim[name]) for name in ("consist", "hold", "values")}
        return similarity_terms(self.images(batch, "df"), self.images(batch, "dr"), own, aim) | held
