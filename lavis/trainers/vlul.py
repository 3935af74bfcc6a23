"""MultiDelete: modality decoupling, multimodal and unimodal knowledge retention.

Jiali Cheng and Hadi Amiri, "MultiDelete for Multimodal Machine Unlearning", ECCV 2024, arXiv 2311.12047,
section 3 (equations 2 to 5), as the public fork applies it to CLIP:

    L     = md + multi + uni
    md    = MSE(S'_f, S_f,π) + MSE(S'_fᵀ, S_f,πᵀ)
    multi = MSE(m'_r, m_r),  m = normalise((I + T) / 2)
    uni   = MSE(I'_r, I_r) + MSE(T'_r, T_r)

| symbol | here |
|---|---|
| ' (prime) | student: the model being unlearned; without it the teacher: the frozen original |
| f, r | batches of the forget set (df) and of the retain set (dr) |
| S = I Tᵀ | PairFeatures.similarity |
| π | batch.permutation: the forget captions shuffled within the batch, for the teacher only |

On fused encoders (ALBEF, BLIP) m is h, the [CLS] of the text after cross-attention to its image. For retrieval S is
still that of the projected features; for VQA, NLVR2 and visual entailment, with V the image encoder's output:

    md = MSE(h'_f, h_f,π),   multi = MSE(h'_r, h_r),   uni = MSE(V'_f, V_f)

The class of the features decides which of these applies (lavis/common/features.py).
`vlul-md`, `vlul-md-multi`, … are the ablations: the named terms only.
"""

from __future__ import annotations

import torch

from lavis.common.features import Features
from lavis.common.registry import registry
from lavis.losses.terms import multimodal_mse, relation_mse, unimodal_mse
from lavis.trainers.base import BaseTrainer, Batch, Student, TeacherFeatures

TERMS = ("md", "multi", "uni")
ABLATIONS = ("vlul-md", "vlul-multi", "vlul-uni", "vlul-md-multi", "vlul-md-uni", "vlul-multi-uni")


def vlul_terms(
    student_df: Features, student_dr: Features, teacher_df: Features, teacher_dr: Features
) -> dict[str, torch.Tensor]:
    """The three terms as scalars; `teacher_df` already has the shuffled captions."""
    unimodal = {"df": (student_df, teacher_df), "dr": (student_dr, teacher_dr)}[student_df.unimodal_set]
    return {
        "md": relation_mse(student_df, teacher_df),
        "multi": multimodal_mse(student_dr, teacher_dr),
        "uni": unimodal_mse(*unimodal),
    }


@registry.register_trainer("vlul", *ABLATIONS)
class MultiDelete(BaseTrainer):
    """MultiDelete (`vlul`) and its ablations."""

    all_terms = TERMS
    joint_of_teacher = ("dr",)

    @classmethod
    def terms_of(cls, method: str) -> tuple[str, ...]:
        return tuple(method.split("-")[1:]) or TERMS

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        terms = vlul_terms(student.df, student.dr, teacher.df_shuffled, teacher.dr)
        return {name: terms[name] for name in self.active}
