"""A batch of captions as one sequence, without the padding between them.

A causal text tower reads the last token of a caption, which nothing after it affects. In a batch of SALMU's captions a
quarter of all positions is padding; here the layers compute only the tokens, and attention alone sees rows of equal
length. On a GPU the host would have to wait for the lengths, and small batches gain nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from lavis.towers.attention import LastTokensBlock, SelfAttention
from lavis.towers.layout import Layout


def last_tokens(transformer: Any, hidden: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What open_clip's transformer gives for each caption's last token: (B, L, W) and ids (B, L) to (B, W)."""
    blocks = list(transformer.resblocks)
    if hidden.device.type != "cpu" or not transformer.batch_first or not all(map(_packs, blocks)):
        return transformer(hidden, attn_mask=mask)[torch.arange(len(tokens)), tokens.argmax(dim=1)]
    layout = Layout.of(tokens)
    x = layout.pack(hidden)
    for block in blocks:
        if transformer.grad_checkpointing:
            x = checkpoint(_with_layout, block, x, mask, layout, use_reentrant=False)
        else:
            x = _with_layout(block, x, mask, layout)
    return x[0] if blocks and isinstance(blocks[-1], LastTokensBlock) else x[0, layout.ends]


def _packs(block: Any) -> bool:
    """Whether a block can; one that is compiled would be compiled for every number of tokens."""
    return type(block.attn) is SelfAttention and block.attn.causal and not block._compiled_call_impl


def _with_layout(block: Any, x: torch.Tensor, mask: torch.Tensor, layout: Layout) -> torch.Tensor:
    """A block's output; a block that is recomputed in the backward pass comes by here again."""
    block.attn.layout = layout
    try:
        return block(x, attn_mask=mask)
    finally:
        block.attn.layout = None
