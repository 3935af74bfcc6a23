"""BLIP's text encoder for statements about two images (arXiv 2201.12086, section 4.4).

Cross-attention is doubled: the text attends to each image with separate weights (`self0`, `self1`), each result has
its own projection (`dense0`, `dense1`), and the two are joined: in the first six layers by their mean, in later ones by
a linear layer (`merge_layer`) on their concatenation. One residual and one LayerNorm follow.
"""

from __future__ import annotations

import torch
from torch import nn

from lavis.models.fused.text import EPSILON, Attention, TextSizes

FIRST_MERGE = 6


class TwinOutput(nn.Module):
    """Projects both results, joins them, adds the input and normalises."""

    def __init__(self, sizes: TextSizes, merge: bool) -> None:
        super().__init__()
        self.dense0 = nn.Linear(sizes.width, sizes.width)
        self.dense1 = nn.Linear(sizes.width, sizes.width)
        self.LayerNorm = nn.LayerNorm(sizes.width, eps=EPSILON)
        self.dropout = nn.Dropout(sizes.dropout)
        self.merge_layer = nn.Linear(2 * sizes.width, sizes.width) if merge else None

    def forward(self, first: torch.Tensor, second: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        first, second = self.dense0(first), self.dense1(second)
        if self.merge_layer is None:
            joined = (first + second) / 2
        else:
            joined = self.merge_layer(torch.cat([first, second], dim=-1))
        return self.LayerNorm(self.dropout(joined) + residual)


class TwinAttentionBlock(nn.Module):
    """Cross-attention of text states (B, L, H) to two images' states (B, 2, N, W)."""

    def __init__(self, sizes: TextSizes, merge: bool) -> None:
        super().__init__()
        self.self0 = Attention(sizes, sizes.context)
        self.self1 = Attention(sizes, sizes.context)
        self.output = TwinOutput(sizes, merge)

    def forward(self, states: torch.Tensor, images: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        first, second = images.unbind(dim=1)
        return self.output(self.self0(states, first, mask), self.self1(states, second, mask), states)


def doubled(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A BLIP state dict with single cross-attention under the names of the twins, which get the same values."""
    twins = {}
    for name, tensor in state.items():
        before, cross, part = name.partition(".crossattention.")
        if part.startswith(("self.", "output.dense.")):
            kind, _, leaf = part.removeprefix("output.").partition(".")
            place = "output." if part.startswith("output.") else ""
            twins.update({f"{before}{cross}{place}{kind}{twin}.{leaf}": tensor for twin in (0, 1)})
        else:
            twins[name] = tensor
    return twins
