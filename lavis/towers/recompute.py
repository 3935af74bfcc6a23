"""Saves activation memory: an MLP's widest tensor is recomputed in the backward pass instead of stored."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import nn
from torch.utils.checkpoint import checkpoint

STORED_SHARE = 1 / 8  # of a GPU's memory; activations, weights and the optimiser's states need the rest
STORED_BYTES = 256 * 2**20  # on a CPU: those of short captions, not those of images


class RecomputedMlp(nn.Sequential):
    """A transformer block's MLP that stores only its first layer's output where memory is scarce.

    Plain autograd also stores the activation function's output, four times the width of the block: about a quarter of
    what a block stores. Recomputing it is cheap for the device (no matrix product is repeated, because the last layer's
    output is not needed) and bit-equal, so that values and gradients are those of the plain MLP. It is not cheap for
    the host: on a GPU, where that decides how long a small batch takes, all MLPs of the tower store their outputs if
    these fit into a small part of the memory; on a CPU if they are small. Parameters keep their names.
    """

    blocks = 1  # MLPs of the tower

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        first, *rest = self
        wide = first(input)
        if not (torch.is_grad_enabled() and wide.requires_grad) or self._fits(wide):
            return _through(wide, *rest)
        return checkpoint(_through, wide, *rest, use_reentrant=False, preserve_rng_state=False)

    def _fits(self, wide: torch.Tensor) -> bool:
        """Whether what would be recomputed is stored; decided by size alone, so that a run repeats it."""
        most: float = STORED_BYTES
        if wide.device.type == "cuda":
            most = STORED_SHARE * torch.cuda.get_device_properties(wide.device).total_memory
        return self.blocks * wide.numel() * wide.element_size() <= most


def recompute_mlps(tower: nn.Module) -> int:
    """Replace the MLP of each of open_clip's transformer blocks in `tower`; returns how many."""
    blocks = [part for part in tower.modules() if isinstance(part, ResidualAttentionBlock)]
    for block in blocks:
        block.mlp = RecomputedMlp(OrderedDict(block.mlp.named_children()))
        block.mlp.blocks = len(blocks)
    return len(blocks)


def _through(x: torch.Tensor, *layers: Any) -> torch.Tensor:
    for layer in layers:
        x = layer(x)
    return x
