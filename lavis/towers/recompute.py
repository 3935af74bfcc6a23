"""Saves activation memory: the MLP's widest tensors are recomputed in the backward pass instead of stored."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import nn
from torch.utils.checkpoint import checkpoint


class RecomputedMlp(nn.Sequential):
    """A transformer block's MLP that stores only its first layer's output.

    Plain autograd also stores the activation function's output, four times the width of the block: about a quarter of
    what a block stores. Recomputing it is cheap (no matrix product is repeated, because the last layer's output is not
    needed) and bit-equal, so that values and gradients are those of the plain MLP. Parameters keep their names.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        first, *rest = self
        wide = first(input)
        if not (torch.is_grad_enabled() and wide.requires_grad):
            return _through(wide, *rest)
        return checkpoint(_through, wide, *rest, use_reentrant=False, preserve_rng_state=False)


def recompute_mlps(tower: nn.Module) -> int:
    """Replace the MLP of each of open_clip's transformer blocks in `tower`; returns how many."""
    blocks = [part for part in tower.modules() if isinstance(part, ResidualAttentionBlock)]
    for block in blocks:
        block.mlp = RecomputedMlp(OrderedDict(block.mlp.named_children()))
    return len(blocks)


def _through(x: torch.Tensor, *layers: Any) -> torch.Tensor:
    for layer in layers:
        x = layer(x)
    return x
