"""Direct similarity minimisation: lowers the cosine of forget pairs; nothing preserves the rest.

Baseline of Selvas-Sala, Kang and Gomez, "SALMUBench", CVPR 2026, arXiv 2603.26316:

    L = mean(diag(S'_f))

| symbol | here |
|---|---|
| ' (prime) | student: the model being unlearned |
| f | df: batch of the forget set |
| S = I Tᵀ | PairFeatures.similarity; its diagonal is `.paired` |

The minimum is -1, far below the cosines of a retrained model: the method over-generalises unless stopped early.
"""

from __future__ import annotations

import torch

from lavis.common.features import PairFeatures
from lavis.common.registry import registry
from lavis.trainers.base import BaseTrainer, Batch, Student, TeacherFeatures


def simmin_terms(student_df: PairFeatures) -> dict[str, torch.Tensor]:
    """The only term, as a scalar."""
    return {"forget": student_df.paired.mean()}


@registry.register_trainer("simmin")
class SimilarityMinimisation(BaseTrainer):
    """Mean paired cosine on the forget set, minimised."""

    all_terms = ("forget",)
    needs_pairs = True
    sets = ("df",)
    needs_teacher = False

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        return simmin_terms(student.df)
