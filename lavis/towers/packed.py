"""A batch of captions as one sequence, without the padding between them.

A causal text tower reads the last token of a caption, which nothing after it affects. In a batch of SALMU's captions a
quarter of all positions is padding; here the layers compute only the tokens, and attention alone sees rows of equal
length. On a GPU the host would have to wait for the lengths, and small batches gain nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from lavis.towers.attention import SelfAttention
from lavis.towers.layout import Layout


def last_tokens(transformer: Any, hidden: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What open_clip's transformer gives for each caption's last token: (B, L, W) and ids (B, L) to (B, W)."""
    layers: list[Any] = [block.attn for block in transformer.resblocks]
    if not _packs(transformer, layers, hidden):
        return transformer(hidden, attn_mask=mask)[torch.arange(len(tokens)), tokens.argmax(dim=1)]
    layout = Layout.of(tokens)
    with _laid_out(layers, layout):
        found = transformer(layout.pack(hidden), attn_mask=mask)[0]
    return found if any(isinstance(block, LastTokensBlock) for block in transformer.resblocks) else found[layout.ends]


def _packs(transformer: Any, layers: list[Any], hidden: torch.Tensor) -> bool:
    """Whether every layer can.

    One that is recomputed in the backward pass would no longer know the layout, and one that is compiled would be
    compiled for every number of tokens.
    """
    known = all(type(layer) is SelfAttention and layer.causal for layer in layers)
    compiled = any(block._compiled_call_impl for block in transformer.resblocks)
    return known and hidden.device.type == "cpu" and not transformer.grad_checkpointing and not compiled


@contextlib.contextmanager
def _laid_out(layers: list[Any], layout: Layout) -> Iterator[None]:
    for layer in layers:
        layer.layout = layout
    try:
        yield
    finally:
        for layer in layers:
            layer.layout = None
