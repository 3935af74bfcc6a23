"""CLIP's contrastive loss (arXiv 2103.00020, section 2.3), with an option for batches that repeat a caption."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lavis.common.features import PairFeatures


def contrastive_loss(pairs: PairFeatures, scale: torch.Tensor, groups: torch.Tensor | None = None) -> torch.Tensor:
    """Symmetric cross-entropy of scale·S with the diagonal as target, mean of both directions.

    Args:
        pairs: B image–text pairs.
        scale: multiplier of the cosines (exp(logit_scale)), scalar.
        groups: (B,) integers, equal for rows with the same caption. These rows share the target mass equally, since
            each is a right answer. None: all captions differ.
    """
    logits = scale * pairs.similarity
    if groups is None:
        target = torch.arange(len(logits), device=logits.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    same = (groups[:, None] == groups[None, :]).to(logits.dtype)
    share = same / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, share) + F.cross_entropy(logits.T, share)) / 2
