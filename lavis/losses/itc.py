"""Image–text contrastive loss with a queue and soft targets (ALBEF, arXiv 2107.07651, equations 1, 2 and 6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def distillation_weight(alpha: float, epoch: int, step: int, steps_per_epoch: int, ramp_epochs: int) -> float:
    """Weight of the soft targets: 0 at the first step, rising linearly to alpha over `ramp_epochs` epochs."""
    return alpha * min(1.0, (epoch * steps_per_epoch + step) / (ramp_epochs * steps_per_epoch))


def same_image_targets(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Target shares (B, N): all columns with a row's image id are right answers and share the mass equally.

    Args:
        rows: image ids (B,).
        columns: image ids (N,); they must include every row's id.
    """
    same = (rows[:, None] == columns[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)


def soften(targets: torch.Tensor, teacher: torch.Tensor, alpha: float) -> torch.Tensor:
    """alpha·softmax(teacher) + (1−alpha)·targets, both (B, N). No gradient flows into the teacher."""
    return alpha * F.softmax(teacher.detach(), dim=1) + (1 - alpha) * targets


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """−Σ targets·log softmax(logits) over the last axis, mean over rows. Both (B, N)."""
    return -(F.log_softmax(logits, dim=1) * targets).sum(dim=1).mean()


def itc_loss(
    image_to_text: torch.Tensor,
    text_to_image: torch.Tensor,
    image_targets: torch.Tensor,
    text_targets: torch.Tensor,
) -> torch.Tensor:
    """Mean of both directions. Logits and targets (B, N): this batch's momentum features, then the queue's."""
    return (soft_cross_entropy(image_to_text, image_targets) + soft_cross_entropy(text_to_image, text_targets)) / 2


def distilled_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, teacher: torch.Tensor | None, alpha: float
) -> torch.Tensor:
    """(1−alpha)·CE(labels) + alpha·CE(softmax(teacher)), mean over rows; CE(labels) alone without a teacher.

    Logits are (B, C), labels (B,). No gradient flows into the teacher.
    """
    plain = F.cross_entropy(logits, labels)
    if teacher is None:
        return plain
    return (1 - alpha) * plain + alpha * soft_cross_entropy(logits, F.softmax(teacher.detach(), dim=1))
