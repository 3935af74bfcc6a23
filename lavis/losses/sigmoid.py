"""SigLIP's sigmoid loss (Zhai et al., arXiv 2303.15343, algorithm 1): every image with every caption is a yes or no.

L = -1/B Σ_ij log σ(z_ij (scale·S_ij + bias))
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lavis.common.features import PairFeatures
from lavis.losses.contrastive import contrastive_loss


def sigmoid_loss(
    pairs: PairFeatures, scale: torch.Tensor, bias: torch.Tensor, groups: torch.Tensor | None = None
) -> torch.Tensor:
    """Binary cross-entropy of scale·S + bias, summed over captions, mean over images: scalar.

    Args:
        pairs: B image–text pairs. scale, bias: scalars.
        groups: (B,) integers, equal for rows with the same caption, which count as right for each other (z = 1). None:
            all captions differ.
    """
    logits = scale * pairs.similarity + bias
    if groups is None:
        same = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    else:
        same = groups[:, None] == groups[None, :]
    return -F.logsigmoid(torch.where(same, logits, -logits)).sum() / len(logits)


def pair_loss(
    pairs: PairFeatures, scale: torch.Tensor, bias: torch.Tensor | None = None, groups: torch.Tensor | None = None
) -> torch.Tensor:
    """The loss that a model of two towers was trained with: the sigmoid one where it has a bias, else softmax."""
    if bias is None:
        return contrastive_loss(pairs, scale, groups)
    return sigmoid_loss(pairs, scale, bias, groups)
