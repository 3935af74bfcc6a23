"""Shuffled captions: contrastive training on forget images with each other's captions, plus the retain set.

Baseline of Selvas-Sala, Kang and Gomez, "SALMUBench", CVPR 2026, arXiv 2603.26316; random labels, for pairs:

    L      = forget + retain
    forget = C(I'_f, (T'_f)_π),   retain = C(I'_r, T'_r)
    C(I, T) = ½ (CE(scale·I Tᵀ, target) + CE(scale·T Iᵀ, target))

| symbol | here |
|---|---|
| ' (prime) | student: the model being unlearned |
| f, r | df, dr: batches of the forget and the retain set |
| I, T | PairFeatures.image, PairFeatures.text |
| π | batch.permutation: the forget captions shuffled within the batch, differently in every step |
| scale | exp of the temperature, learnt |
| target | the diagonal; rows with equal captions share the mass |
"""

from __future__ import annotations

import torch

from lavis.common.features import PairFeatures
from lavis.common.registry import registry
from lavis.losses.sigmoid import pair_loss
from lavis.trainers.base import BaseTrainer, Batch, EqualCaptions, Student, TeacherFeatures

Groups = torch.Tensor | None


def contrastive_terms(
    student_df: PairFeatures,
    student_dr: PairFeatures,
    scale: torch.Tensor,
    df_groups: Groups = None,
    dr_groups: Groups = None,
    bias: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """The two terms as scalars. `student_df` and its groups already have the wrong captions; groups number captions.

    bias: that of a sigmoid loss; None for softmax.
    """
    return {
        "forget": pair_loss(student_df, scale, bias, df_groups),
        "retain": pair_loss(student_dr, scale, bias, dr_groups),
    }


@registry.register_trainer("shuffled")
class ShuffledCaptions(BaseTrainer):
    """Contrastive training on wrong forget pairs and true retain pairs."""

    params_class = EqualCaptions
    all_terms = ("forget", "retain")
    needs_pairs = True
    needs_teacher = False
    trains_scale = True

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        order = batch.permutation
        wrong = student.df.with_text(student.df.text[order])
        if not self.params.share_equal:
            return contrastive_terms(wrong, student.dr, self.scale, bias=self.bias)
        groups = batch.caption_groups("df")[order], batch.caption_groups("dr")
        return contrastive_terms(wrong, student.dr, self.scale, *groups, self.bias)
