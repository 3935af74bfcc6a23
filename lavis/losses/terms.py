"""Loss terms that several methods share: functions of similarity matrices and of features."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lavis.common.features import Features


def paired_mse(student: tuple[torch.Tensor, ...], target: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Sum of the MSEs between corresponding tensors, which have equal shapes."""
    return torch.stack([F.mse_loss(one, two) for one, two in zip(student, target, strict=True)]).sum()


def similarity_mse(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """MSE(S, S*) + MSE(Sᵀ, S*ᵀ) of (B, B) similarity matrices. The two are equal, so this is twice the MSE."""
    return paired_mse((student, student.T), (target, target.T))


def similarity_to_zero(student: torch.Tensor) -> torch.Tensor:
    """MSE(S, 0) + MSE(Sᵀ, 0) of a (B, B) similarity matrix."""
    return similarity_mse(student, torch.zeros_like(student))


def relation_mse(student: Features, teacher: Features) -> torch.Tensor:
    """MSE of what links images to captions: S and Sᵀ of pairs, the fused [CLS] otherwise."""
    return paired_mse(student.relations, teacher.relations)


def multimodal_mse(student: Features, teacher: Features) -> torch.Tensor:
    """MSE(m', m) of the joint representations."""
    return F.mse_loss(student.joint, teacher.joint)


def unimodal_mse(student: Features, teacher: Features) -> torch.Tensor:
    """MSE(I', I) + MSE(T', T) of pairs, else the MSE of the image encoder's output: keeps each modality as it was."""
    return paired_mse(student.unimodal, teacher.unimodal)
