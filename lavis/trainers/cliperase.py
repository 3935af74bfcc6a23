"""CLIPErase as published: forgetting, retention and consistency modules (the fork's version is `erase`).

Yang et al., "CLIPErase: Efficient Unlearning of Visual-Textual Associations in CLIP", ACL 2025, arXiv 2410.23330:

    L  = 1·RM + 3·FM + 3·CM                                       (weights of lavis/configs/methods/cliperase.yaml)
    FM = mean(diag(S'_f))                                         forget
    RM = ½ (CE(scale·S'_r, target) + CE(scale·S'_rᵀ, target))     retain
    CM = KL(p(S_r) ‖ p(S'_r)) + KL(p(S_rᵀ) ‖ p(S'_rᵀ))            consist

| symbol | here |
|---|---|
| ' (prime) | student; without it the teacher (frozen original) |
| f, r | df, dr: batches of the forget and the retain set |
| S = I Tᵀ | PairFeatures.similarity |
| p | softmax over the rows of scale·S (over captions) or of scale·Sᵀ (over images) |
| KL | Kullback-Leibler divergence, mean over rows |
| scale | exp of the temperature; frozen, so that both models share it |
| target | the diagonal; rows with equal captions share the mass |
"""

from __future__ import annotations

import torch

from lavis.common.features import PairFeatures
from lavis.common.registry import registry
from lavis.losses.distillation import kl_both_ways
from lavis.losses.sigmoid import pair_loss
from lavis.trainers.base import BaseTrainer, Batch, EqualCaptions, Student, TeacherFeatures


def cliperase_terms(
    student_df: PairFeatures,
    student_dr: PairFeatures,
    teacher_dr: PairFeatures,
    scale: torch.Tensor,
    groups: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """The three terms as scalars; `groups` numbers the retain captions, `bias` is that of a sigmoid loss."""
    return {
        "forget": student_df.paired.mean(),
        "retain": pair_loss(student_dr, scale, bias, groups),
        "consist": kl_both_ways(scale * teacher_dr.similarity, scale * student_dr.similarity),
    }


@registry.register_trainer("cliperase")
class ClipErase(BaseTrainer):
    """CLIPErase as in the paper."""

    params_class = EqualCaptions
    all_terms = ("forget", "retain", "consist")
    teacher_sets = ("dr",)
    needs_pairs = True

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        groups = batch.caption_groups("dr") if self.params.share_equal else None
        return cliperase_terms(student.df, student.dr, teacher.dr, self.scale, groups, self.bias)
