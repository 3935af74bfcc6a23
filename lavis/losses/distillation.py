"""Distillation: Kullback–Leibler divergence between the softmaxes of teacher and student within a batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def kl_divergence(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """KL(softmax(teacher) ‖ softmax(student)) of (B, N) logits over the last axis, mean over rows.

    No gradient flows into the teacher.
    """
    return F.kl_div(F.log_softmax(student, dim=-1), F.softmax(teacher.detach(), dim=-1), reduction="batchmean")


def kl_both_ways(teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
    """Sum of the divergences over captions (rows) and over images (columns) of (B, B) logits."""
    return kl_divergence(teacher, student) + kl_divergence(teacher.T, student.T)
