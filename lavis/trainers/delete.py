"""DELETE as in the public fork: forget similarities are pushed to zero, retain similarities held.

After Zhou et al., "Decoupled Distillation to Erase: A General Unlearning Method for Any Class-centric Tasks",
CVPR 2025, arXiv 2503.23751; the fork replaces the paper's masked distillation by MSEs:

    L      = forget + retain
    forget = MSE(S'_f, 0) + MSE(S'_fᵀ, 0)
    retain = MSE(S'_r, S_r) + MSE(S'_rᵀ, S_rᵀ)

| symbol | here |
|---|---|
| ' (prime) | student; without it the teacher (frozen original) |
| f, r | df, dr: batches of the forget and the retain set |
| S = I Tᵀ | PairFeatures.similarity |
"""

from __future__ import annotations

import torch

from lavis.common.features import PairFeatures
from lavis.common.registry import registry
from lavis.losses.terms import similarity_mse, similarity_to_zero
from lavis.trainers.base import BaseTrainer, Batch, Student, TeacherFeatures


def delete_terms(
    student_df: PairFeatures, student_dr: PairFeatures, teacher_dr: PairFeatures
) -> dict[str, torch.Tensor]:
    """The two terms as scalars."""
    return {
        "forget": similarity_to_zero(student_df.similarity),
        "retain": similarity_mse(student_dr.similarity, teacher_dr.similarity),
    }


@registry.register_trainer("delete")
class Delete(BaseTrainer):
    """DELETE as in the fork."""

    all_terms = ("forget", "retain")
    teacher_sets = ("dr",)
    needs_pairs = True

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        return delete_terms(student.df, student.dr, teacher.dr)
