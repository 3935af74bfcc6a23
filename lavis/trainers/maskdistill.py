"""DELETE as published, applied to in-batch logits: distil the original model with the true pair masked out.

Zhou et al., "Decoupled Distillation to Erase: A General Unlearning Method for Any Class-centric Tasks", CVPR 2025,
arXiv 2503.23751 (the fork's version is `delete`). The paper masks the true class; here a row's class is its own pair:

    L = KL(p(mask(S_f)) ‖ p(S'_f)) + KL(p(mask(S_fᵀ)) ‖ p(S'_fᵀ))
    mask(S)_ij = -10¹⁰ if i = j, else scale·S_ij

| symbol | here |
|---|---|
| ' (prime) | student; without it the teacher (frozen original) |
| f | df: batch of the forget set; the retain set is not needed |
| S = I Tᵀ | PairFeatures.similarity |
| p | softmax over a row (of scale·S' for the student) |
| KL | Kullback-Leibler divergence, mean over rows |
| scale | exp of the temperature; frozen, so that both models share it |
"""

from __future__ import annotations

import torch

from lavis.common.features import PairFeatures
from lavis.common.registry import registry
from lavis.losses.distillation import kl_both_ways
from lavis.trainers.base import BaseTrainer, Batch, Student, TeacherFeatures

MASKED = -1e10


def maskdistill_terms(
    student_df: PairFeatures, teacher_df: PairFeatures, scale: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The only term, as a scalar."""
    logits = scale * teacher_df.similarity
    diagonal = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    return {"forget": kl_both_ways(logits.masked_fill(diagonal, MASKED), scale * student_df.similarity)}


@registry.register_trainer("maskdistill")
class MaskedDistillation(BaseTrainer):
    """DELETE as in the paper."""

    all_terms = ("forget",)
    teacher_sets = ("df",)
    needs_pairs = True
    sets = ("df",)

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        return maskdistill_terms(student.df, teacher.df, self.scale)
