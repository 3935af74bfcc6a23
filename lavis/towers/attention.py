"""Self-attention for open_clip's blocks without torch's copies, and faster than torch's kernel on a CPU.

`torch.nn.MultiheadAttention` copies queries, keys and values out of their common projection and the mixed values into
another order of axes, and stores both. Here they stay where the projection wrote them. On a CPU, long rows go through
`CpuAttention`, which works on a few images at a time: their scores stay in the cache, and the backward pass recomputes
them in matrix products instead of torch's tiles (in about half the time of torch 2.14's flash kernel in bf16).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn
from torch.autograd.function import once_differentiable

from lavis.towers.layout import Layout

LONG = 128  # tokens; for shorter rows torch's kernel is as fast
CACHED_BYTES = 2 * 2**20  # size of a chunk's scores in single precision, so that they fit the cache


class SelfAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` for one sequence of queries, keys and values, without dropout or returned weights.

    Parameters and their names are the parent's, which also handles all other uses.
    """

    causal = False  # whether every `attn_mask` hides what follows a token; kernels are faster if they know
    layout: Layout | None = None  # set while the sequence is a whole batch of them, without padding (packed.py)

    def forward(  # type: ignore[override]
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, L, D) to (B, L, D); `attn_mask` (L, L) is boolean (False: hidden) or added to the scores.

        Without a mask `query` may be a part of the sequence, (B, M, D) to (B, M, D); with a layout, the last tokens.
        """
        same = key is value and self._qkv_same_embed_dim and self.batch_first and query.ndim == 3
        plain = self.bias_k is None and not self.add_zero_attn and not (self.training and self.dropout)
        part = query is not key
        shared = attn_mask is None or (attn_mask.ndim == 2 and not part)
        special = need_weights or key_padding_mask is not None or options.get("is_causal")
        if special or not (same and plain and shared):
            return super().forward(query, key, value, key_padding_mask, need_weights, attn_mask, **options)
        if part:
            return self._of_part(query, key), None
        packed = F.linear(query, self.in_proj_weight, self.in_proj_bias)
        packed = packed.unflatten(-1, (3, self.num_heads, self.head_dim))
        causal, layout = self.causal and attn_mask is not None, self.layout
        mixed = attend(layout.unpack(packed) if layout else packed, None if causal else attn_mask, causal)
        mixed = (layout.pack(mixed) if layout else mixed).flatten(2)
        return F.linear(mixed, self.out_proj.weight, self.out_proj.bias), None

    def _of_part(self, part: torch.Tensor, sequence: torch.Tensor) -> torch.Tensor:
        width, bias = self.embed_dim, self.in_proj_bias
        first, rest = (None, None) if bias is None else (bias[:width], bias[width:])
        query = F.linear(part, self.in_proj_weight[:width], first).unflatten(-1, (self.num_heads, self.head_dim))
        both = F.linear(sequence, self.in_proj_weight[width:], rest).unflatten(-1, (2, self.num_heads, self.head_dim))
        seen = None
        if self.layout:  # of each caption, the last token reads all its tokens
            query, both, seen = query.transpose(0, 1), self.layout.unpack(both), self.layout.inside[:, None, None]
        key, value = (part.transpose(1, 2) for part in both.unbind(2))
        mixed = F.scaled_dot_product_attention(query.transpose(1, 2), key, value, attn_mask=seen)
        mixed = mixed.transpose(1, 2).flatten(2)
        mixed = mixed.transpose(0, 1) if self.layout else mixed
        return F.linear(mixed, self.out_proj.weight, self.out_proj.bias)


class FirstTokenBlock(ResidualAttentionBlock):
    """The last block of a tower whose output is its first token: it reads all tokens but computes only the first.

    (B, L, D) to (B, 1, D), equal to the block's first token, with a sixth of the block's products.
    """

    def forward(
        self,
        q_x: torch.Tensor,
        k_x: torch.Tensor | None = None,
        v_x: torch.Tensor | None = None,
        attn_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        assert k_x is None and v_x is None and attn_mask is None, "an image tower's blocks have neither"
        return _some_tokens(self, q_x, slice(1))


class LastTokensBlock(ResidualAttentionBlock):
    """The last block of a causal text tower: while its attention has a layout, it computes only the last tokens.

    (1, T, D) to (1, B, D) then, with a sixth of the block's products.
    """

    def forward(
        self,
        q_x: torch.Tensor,
        k_x: torch.Tensor | None = None,
        v_x: torch.Tensor | None = None,
        attn_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        layout = self.attn.layout if isinstance(self.attn, SelfAttention) else None
        if layout is None:
            return super().forward(q_x, k_x, v_x, attn_mask)
        return _some_tokens(self, q_x, layout.ends)


def _some_tokens(block: Any, hidden: torch.Tensor, chosen: slice | torch.Tensor) -> torch.Tensor:
    """What a block gives for some of its tokens, all of which it reads: (B, L, D) to (B, M, D)."""
    x = block.ln_1(hidden)
    x = hidden[:, chosen] + block.ls_1(block.attn(x[:, chosen], x, x, need_weights=False)[0])
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def compute_first_token(visual: nn.Module) -> bool:
    """Make the last block of open_clip's image tower a FirstTokenBlock if only its first token is used; True if so."""
    if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None:
        return False
    last = visual.transformer.resblocks[-1]
    if visual.pool_type != "tok" or visual.output_tokens or type(last) is not ResidualAttentionBlock:
        return False
    last.__class__ = FirstTokenBlock
    return True


def pack_attention(tower: nn.Module, mask: torch.Tensor | None = None) -> int:
    """Make the attention of each of open_clip's transformer blocks in `tower` SelfAttention; returns how many.

    mask: the mask (L, L) that the tower gives its blocks, of which any length is cut.
    """
    blocks = [part for part in tower.modules() if isinstance(part, ResidualAttentionBlock)]
    layers: list[Any] = [block.attn for block in blocks if type(block.attn) is nn.MultiheadAttention]
    for attention in layers:
        attention.__class__ = SelfAttention
        attention.causal = mask is not None and torch.equal(mask, torch.full_like(mask, -torch.inf).triu(1))
    return len(layers)


def attend(packed: torch.Tensor, mask: torch.Tensor | None = None, causal: bool = False) -> torch.Tensor:
    """Scaled dot-product attention (Vaswani et al., arXiv 1706.03762, equation 1), (B, L, 3, H, D) to (B, L, H, D).

    The third axis of `packed` is queries, keys and values. causal: no token reads those after it; unlike a mask of
    numbers, this leaves torch its flash kernel on a GPU.
    """
    masked = causal or mask is not None
    if packed.device.type == "cpu" and not masked and packed.shape[1] >= LONG and _torch_may_choose():
        return CpuAttention.apply(packed)
    # unbind before transpose: the backward pass then stacks the three gradients in the order of `packed`, in one copy
    query, key, value = (part.transpose(1, 2) for part in packed.unbind(2))
    if mask is not None and mask.dtype is not torch.bool:
        mask = mask.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal).transpose(1, 2)


def _torch_may_choose() -> bool:
    """Whether torch chooses the kernel; not if run.attention names one."""
    kernels = torch.backends.cuda
    return kernels.flash_sdp_enabled() and kernels.math_sdp_enabled() and kernels.mem_efficient_sdp_enabled()


class CpuAttention(torch.autograd.Function):
    """`attend` for long rows on a CPU; stores only `packed` for the backward pass.

    Scores and their softmax are in single precision (double for double), products with values and gradients in the type
    of `packed`.
    """

    @staticmethod
    def forward(ctx: Any, packed: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(packed)
        mixed = packed.new_empty(packed.shape[0], packed.shape[1], *packed.shape[3:])
        with torch.autocast("cpu", enabled=False):
            for part, out in _chunks(packed, mixed):
                query, key, value = part.permute(2, 0, 3, 1, 4)
                out.transpose(1, 2).copy_(_weights(query, key).to(value.dtype) @ value)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # pyrefly: ignore[bad-override] - one output
        (packed,) = ctx.saved_tensors
        gradients = torch.empty_like(packed)
        with torch.autocast("cpu", enabled=False):
            for part, outer, target in _chunks(packed, gradient, gradients):
                query, key, value = part.permute(2, 0, 3, 1, 4)
                to_query, to_key, to_value = target.permute(2, 0, 3, 1, 4)
                outer = outer.transpose(1, 2)
                weights = _weights(query, key)
                to_value.copy_(weights.to(value.dtype).transpose(-1, -2) @ outer)
                to_weights = (outer @ value.transpose(-1, -2)).to(weights.dtype)
                scores = torch.ops.aten._softmax_backward_data(to_weights, weights, -1, weights.dtype)
                scores = scores.mul_(query.shape[-1] ** -0.5).to(key.dtype)
                to_query.copy_(scores @ key)
                to_key.copy_(scores.transpose(-1, -2) @ query)
        return gradients


def _weights(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """softmax(q kᵀ / √D) over keys, (B, H, L, L)."""
    kind = torch.promote_types(query.dtype, torch.float32)
    return ((query.to(kind) * query.shape[-1] ** -0.5) @ key.to(kind).transpose(-1, -2)).softmax(-1)


def _chunks(*tensors: torch.Tensor) -> Any:
    """Parts of the batch whose scores fit the cache."""
    length, heads = tensors[0].shape[1], tensors[0].shape[3]
    rows = max(1, CACHED_BYTES // (4 * heads * length**2))
    return zip(*(tensor.split(rows) for tensor in tensors), strict=True)
