"""CLIPErase as in the public fork: forget similarities are pushed to zero, retain similarities and embeddings held.

After Yang et al., "CLIPErase: Efficient Unlearning of Visual-Textual Associations in CLIP", ACL 2025,
arXiv 2410.23330; the fork replaces the paper's three modules by MSEs (the paper's version is `cliperase`):

    L       = forget + retain + consist
    forget  = MSE(S'_f, 0) + MSE(S'_fᵀ, 0)
    retain  = MSE(S'_r, S_r) + MSE(S'_rᵀ, S_rᵀ)
    consist = MSE(I'_r, I_r) + MSE(T'_r, T_r)

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
from lavis.losses.terms import similarity_mse, similarity_to_zero, unimodal_mse
from lavis.trainers.base import BaseTrainer, Batch, Student, TeacherFeatures


def erase_terms(
    student_df: PairFeatures, student_dr: PairFeatures, teacher_dr: PairFeatures
) -> dict[str, torch.Tensor]:
    """The three terms as scalars."""
    return {
        "forget": similarity_to_zero(student_df.similarity),
        "retain": similarity_mse(student_dr.similarity, teacher_dr.similarity),
        "consist": unimodal_mse(student_dr, teacher_dr),
    }


@registry.register_trainer("erase")
class Erase(BaseTrainer):
    """CLIPErase as in the fork."""

    all_terms = ("forget", "retain", "consist")
    teacher_sets = ("dr",)
    needs_pairs = True

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        return erase_terms(student.df, student.dr, teacher.dr)
