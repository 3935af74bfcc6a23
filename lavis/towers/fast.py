"""`model.fast_towers`: decides which of open_clip's towers use the fast paths, and switches them.

The paths: packed self-attention and a last block that computes only the first token (attention.py), MLPs recomputed in
the backward pass (recompute.py), captions without padding (`encode_short`). They are used for the classes of towers
that tests/towers/test_families.py tests; parameters, their names and all values stay open_clip's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.transformer import ResidualAttentionBlock, TextTransformer, VisionTransformer
from torch import nn

from lavis.common.errors import ConfigError, suggest
from lavis.towers.attention import LastTokensBlock, compute_first_token, pack_attention
from lavis.towers.packed import last_tokens
from lavis.towers.recompute import recompute_mlps

CHOICES = ("auto", "true", "false")
BLOCKS = ("attention", "MLPs")
SHORT_CAPTIONS = "short captions"


@dataclass(frozen=True)
class Tower:
    """The names of a tower's fast paths, or `why` it has none."""

    paths: tuple[str, ...] = ()
    why: str = ""

    def __str__(self) -> str:
        return ", ".join(self.paths) or f"none ({self.why})"


def fast_towers(value: object) -> str:
    """`model.fast_towers` as one of CHOICES; YAML's true and false count. Raises ConfigError."""
    choice = str(value).lower()
    if choice not in CHOICES:
        raise ConfigError(f"model.fast_towers is '{value}'; {suggest(choice, CHOICES)}")
    return choice


def use_fast_paths(clip: Any, value: object, name: str) -> tuple[Tower, Tower]:
    """Switch the towers of `clip`, an open_clip model called `name`, to the paths that `model.fast_towers` requests.

    "auto": all paths tested for a tower; "true": the same, but raises ConfigError if a tower has none; "false":
    open_clip's own code. Returns the image tower's and the text tower's paths.
    """
    choice = fast_towers(value)
    if choice == "false":
        return (Tower(why="model.fast_towers is false"),) * 2
    text_tower = clip if type(clip) is open_clip.CLIP else clip.text
    image, text = _obstacle(clip.visual), _obstacle(text_tower)
    if choice == "true" and (image or text):
        reasons = " and ".join(f"its {kind} tower {why}" for kind, why in (("image", image), ("text", text)) if why)
        raise ConfigError(f"model.fast_towers is true, but no fast path is tested for {name}: {reasons}; try 'auto'")
    return _sped_up(clip.visual, image), _sped_up(text_tower, text)


def _obstacle(tower: Any) -> str:
    """Why a tower cannot use the fast paths, or "". A plain CLIP is its own text tower."""
    if type(tower) not in (VisionTransformer, TextTransformer, open_clip.CLIP):
        return f"is a {type(tower).__name__}"
    if type(tower) is TextTransformer and (tower.cls_emb is not None or tower.use_pad_mask):
        return "has a different mask for each caption"
    for block in tower.transformer.resblocks:
        if type(block) is not ResidualAttentionBlock:
            return f"has blocks of class {type(block).__name__}"
    return ""


def _sped_up(tower: Any, why: str) -> Tower:
    if why:
        return Tower(why=why)
    recompute_mlps(tower.transformer)
    pack_attention(tower.transformer, getattr(tower, "attn_mask", None))
    if compute_first_token(tower):
        return Tower((*BLOCKS, "first token"))
    # The output of a causal text tower is its end-of-text token (the highest id), which padding after it cannot affect.
    if type(tower) is open_clip.CLIP and tower.attn_mask is not None and tower.text_pool_type == "argmax":
        tower.transformer.resblocks[-1].__class__ = LastTokensBlock
        return Tower((*BLOCKS, SHORT_CAPTIONS))
    return Tower(BLOCKS)


def encode_short(clip: Any, tokens: torch.Tensor) -> torch.Tensor:
    """open_clip's CLIP.encode_text for any length L up to its context length: ids (B, L) to (B, D)."""
    length = tokens.shape[1]
    mask = clip.attn_mask[:length, :length]
    return projected(clip, last_tokens(clip.transformer, embedded(clip, tokens), tokens, mask))


def embedded(clip: Any, tokens: torch.Tensor) -> torch.Tensor:
    """What the first block of open_clip's text tower reads: ids (B, L) to (B, L, W)."""
    kind = clip.transformer.get_cast_dtype()
    return clip.token_embedding(tokens).to(kind) + clip.positional_embedding[: tokens.shape[1]].to(kind)


def projected(clip: Any, hidden: torch.Tensor) -> torch.Tensor:
    """From the last block's output for the captions' last tokens (B, W) to the embeddings (B, D)."""
    ends = clip.ln_final(hidden)
    if (projection := clip.text_projection) is None:
        return ends
    return projection(ends) if isinstance(projection, nn.Linear) else ends @ projection
