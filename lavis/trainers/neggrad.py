"""Negative gradient: gradient ascent on the original objective, on the forget set alone.

A baseline in, for example, Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020, arXiv 1911.04933.
Descending the negated objective ascends the original one:

    L = -O'(f)

| symbol | here |
|---|---|
| ' (prime) | student: the model being unlearned |
| f | batch of the forget set (df) |
| O | the backbone's training objective, `model.objective`; the temperature is frozen: ascent would move little else |

Nothing preserves the rest of the model: too high a learning rate destroys it.
"""

from __future__ import annotations

import torch

from lavis.common.registry import registry
from lavis.trainers.base import BaseTrainer, Batch, EqualCaptions, Student, TeacherFeatures, with_parts


def neggrad_terms(objective: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The only term, "forget", as a scalar: minus the objective. If the objective has several parts, these too."""
    terms = with_parts("forget", objective)
    return {**terms, "forget": -terms["forget"]}


@registry.register_trainer("neggrad")
class NegativeGradient(BaseTrainer):
    """Gradient ascent on the forget set."""

    params_class = EqualCaptions
    all_terms = ("forget",)
    sets = ("df",)
    needs_teacher = False

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        return neggrad_terms(student.objective("df", self.params.share_equal))
