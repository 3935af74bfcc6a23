"""Image–text matching with in-batch hard negatives (ALBEF, arXiv 2107.07651, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F


@torch.no_grad()
def hard_negative_weights(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """How likely each column is drawn as a row's negative, (B, B): softmax, then zero where the image is the same.

    Args:
        logits: (B, B), rows of one modality against columns of the other, temperature included.
        ids: image ids (B,).

    A row whose other columns all vanish in the softmax gets equal weights; one without another image stays zero.
    """
    other = (ids[:, None] != ids[None, :]).to(logits.dtype)
    weights = F.softmax(logits, dim=1) * other
    return torch.where(weights.sum(dim=1, keepdim=True) > 0, weights, other)


def draw_negatives(weights: torch.Tensor) -> torch.Tensor:
    """One column for each row of (B, B) weights, (B,), by torch's global generator.

    Empty where the batch has a single image: then no row has a negative (and either all have one or none has).
    """
    if not bool((weights.sum(dim=1) > 0).all()):
        return torch.empty(0, dtype=torch.long, device=weights.device)
    return torch.multinomial(weights, 1).squeeze(1)


def itm_loss(logits: torch.Tensor, positives: int) -> torch.Tensor:
    """Cross-entropy of match logits (N, 2); class 1 is a match, and the first `positives` rows are."""
    labels = (torch.arange(len(logits), device=logits.device) < positives).long()
    return F.cross_entropy(logits, labels)
