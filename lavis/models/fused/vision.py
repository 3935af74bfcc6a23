"""The image encoder of ALBEF and BLIP: timm's ViT, whose names are those of the public checkpoints.

Pre-norm, fused qkv with bias, exact GELU, LayerNorm eps 1e-6, the final norm on every token, no head
(Dosovitskiy et al., arXiv 2010.11929; ALBEF, arXiv 2107.07651, section 3.1).
"""

from __future__ import annotations

import logging
from functools import partial

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Attention, VisionTransformer
from torch import nn

from lavis.models.fused.config import FusedConfig
from lavis.towers.attention import attend
from lavis.towers.fast import fast_towers

log = logging.getLogger(__name__)


class TokenAttention(Attention):
    """timm's self-attention through `attend`, which copies nothing and is faster for long rows on a CPU."""

    def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False) -> torch.Tensor:
        """(B, L, H) to (B, L, H)."""
        if attn_mask is not None or is_causal:
            causal = {"is_causal": True} if is_causal else {}  # timm before 1.0.26 has no such argument
            return super().forward(x, attn_mask, **causal)
        packed = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dim))
        return self.proj(attend(packed).flatten(2))


def build_vision(config: FusedConfig) -> VisionTransformer:
    """The encoder with fresh weights: normalised pixels (B, 3, S, S) to all tokens (B, 1 + (S/P)², H), [CLS] first."""
    encoder = VisionTransformer(
        img_size=config.image_size or 384,
        patch_size=config.patch_size,
        embed_dim=config.vision_width,
        depth=config.vision_depth,
        num_heads=config.vision_heads,
        num_classes=0,
        global_pool="",
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        act_layer=nn.GELU,
    )
    encoder.set_grad_checkpointing(config.grad_checkpointing)
    fast = fast_towers(config.fast_towers) != "false"
    log.info("Faster code, same values, for %s: %s", config.arch, "image encoder: attention" if fast else "none")
    for block in encoder.blocks if fast else ():  # without dropout, gates and query norms, so that results are equal
        block.get_submodule("attn").__class__ = TokenAttention
    return encoder


def resize_positions(table: torch.Tensor, tokens: int) -> torch.Tensor:
    """A position table (1, 1+g², H) for another square grid: (1, tokens, H), bicubic; the [CLS] row does not change.

    If either grid is not square the table is returned unchanged (and the strict comparison reports it).
    """
    own, wanted = (round((count - 1) ** 0.5) for count in (table.shape[1], tokens))
    if own == wanted or own * own + 1 != table.shape[1] or wanted * wanted + 1 != tokens:
        return table
    grid = table[:, 1:].reshape(1, own, own, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid.float(), size=(wanted, wanted), mode="bicubic", align_corners=False)
    rows = grid.permute(0, 2, 3, 1).reshape(1, wanted * wanted, -1).to(table.dtype)
    return torch.cat([table[:, :1], rows], dim=1)
