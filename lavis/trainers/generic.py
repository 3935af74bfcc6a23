"""Generic captions: contrastive training on forget images with a caption that tells nothing private, plus Dr.

Baseline of Selvas-Sala, Kang and Gomez, "SALMUBench", CVPR 2026, arXiv 2603.26316:

    L      = forget + retain
    forget = C(I'_f, T'_g),   retain = C(I'_r, T'_r)
    C(I, T) = ½ (CE(scale·I Tᵀ, target) + CE(scale·T Iᵀ, target))

| symbol | here |
|---|---|
| ' (prime) | student: the model being unlearned |
| f, r | df, dr: batches of the forget and the retain set |
| g | the forget images' generic captions: `generic_caption` of their annotation entries |
| I, T | PairFeatures.image, PairFeatures.text |
| scale | exp of the temperature, learnt |
| target | the diagonal; rows with equal captions share the mass (generic captions repeat) |
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from lavis.common.errors import DataError
from lavis.common.features import PairFeatures
from lavis.common.registry import registry
from lavis.losses.contrastive import contrastive_loss
from lavis.trainers.base import BaseTrainer, Batch, Student, TeacherFeatures

FIELD = "generic_caption"


def generic_terms(
    student_df: PairFeatures,
    student_dr: PairFeatures,
    scale: torch.Tensor,
    df_groups: torch.Tensor,
    dr_groups: torch.Tensor,
) -> dict[str, torch.Tensor]:
    """The two terms as scalars; `student_df` carries the generic captions, groups number the captions."""
    return {
        "forget": contrastive_loss(student_df, scale, df_groups),
        "retain": contrastive_loss(student_dr, scale, dr_groups),
    }


def with_generic_captions(entries: list[Any]) -> list[Any]:
    """The entries with their generic caption alone. Raises DataError naming the first entry that has none."""
    for entry in entries:
        caption = entry.extra.get(FIELD)
        if not isinstance(caption, str) or not caption.strip():
            raise DataError(
                f"image '{entry.image}' has no '{FIELD}' in its annotation entry; method 'generic' needs one for every "
                "image of Df: add the field to the training annotations, or import the data with its side files"
            )
    return [dataclasses.replace(entry, captions=(entry.extra[FIELD],)) for entry in entries]


@registry.register_trainer("generic")
class GenericCaptions(BaseTrainer):
    """Contrastive training on forget images with generic captions and on true retain pairs."""

    all_terms = ("forget", "retain")
    needs_pairs = True
    needs_teacher = False
    trains_scale = True

    def entries(self, side: str, entries: list[Any]) -> list[Any]:
        return with_generic_captions(entries) if side == "df" else entries

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        groups = batch.caption_groups("df"), batch.caption_groups("dr")
        return generic_terms(student.df, student.dr, self.scale, *groups)
