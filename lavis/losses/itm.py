"""Image–text matching with in-batch hard negatives (ALBEF, arXiv 2107.07651, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F


@torch.no_grad()
def hard_negative_weights(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Weights (B, B) for drawing each row's negative: the softmax of the logits, zero for columns of the same image.

    Args:
        logits: (B, B), rows of one modality, columns of the other, already divided by the temperature.
        ids: image ids (B,).

    If the softmax underflows to zero on all other images of a row, they get equal weights. A row without any other
    image keeps zeros.
    """
    other = (ids[:, None] != ids[None, :]).to(logits.dtype)
    weights = F.softmax(logits, dim=1) * other
    return torch.where(weights.sum(dim=1, keepdim=True) > 0, weights, other)


def draw_negatives(weights: torch.Tensor) -> torch.Tensor:
    """Draw one column for each row of (B, B) weights, (B,), from torch's global generator.

    Empty if all rows show the same image: then no row has a negative. With two images every row has one.
    """
    if not bool((weights.sum(dim=1) > 0).all()):
        return torch.empty(0, dtype=torch.long, device=weights.device)
    return torch.multinomial(weights, 1).squeeze(1)


def itm_loss(logits: torch.Tensor, positives: int) -> torch.Tensor:
    """Cross-entropy of logits (N, 2); class 1 means a match, and only the first `positives` rows are matches."""
    labels = (torch.arange(len(logits), device=logits.device) < positives).long()
    return F.cross_entropy(logits, labels)
