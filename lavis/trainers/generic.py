"""Generic captions: contrastive training on forget images with a caption that says nothing private, plus Dr.

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

The terms are those of `shuffled`, with other forget captions.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from lavis.common.errors import DataError
from lavis.common.registry import registry
from lavis.trainers.base import BaseTrainer, Batch, Student, TeacherFeatures
from lavis.trainers.shuffled import contrastive_terms

FIELD = "generic_caption"


def with_generic_captions(entries: list[Any]) -> list[Any]:
    """The entries with only their generic caption. Raises DataError naming the first entry that has none."""
    for row, entry in enumerate(entries, start=1):
        caption = entry.extra.get(FIELD)
        if not isinstance(caption, str) or not caption.strip():
            raise DataError(
                f"row {row} of Df has no '{FIELD}' in its annotation entry; method 'generic' needs one for every "
                "image of Df: add the field to the training annotations, or import the data with its metadata files"
            )
    return [dataclasses.replace(entry, captions=(entry.extra[FIELD],)) for entry in entries]


@registry.register_trainer("generic")
class GenericCaptions(BaseTrainer):
    """Contrastive training on forget images with generic captions and on true retain pairs."""

    all_terms = ("forget", "retain")
    needs_pairs = True
    needs_teacher = False
    trains_scale = True

    def entries(self, name: str, entries: list[Any]) -> list[Any]:
        return with_generic_captions(entries) if name == "df" else entries

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        groups = batch.caption_groups("df"), batch.caption_groups("dr")
        return contrastive_terms(student.df, student.dr, self.scale, *groups, self.bias)
