"""A tower cut in two: what lies below the first block that is trained, and the rest.

Without random layers the lower part gives each input the same states in every epoch, so that they can be computed once.
Classes of towers other than open_clip's plain transformers are not cut, but one that is not trained at all is the
lower part as a whole.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.transformer import VisionTransformer
from torch import nn

from lavis.towers.fast import embedded, projected
from lavis.towers.packed import last_tokens

WHOLE = "all blocks"


@dataclass(frozen=True)
class Cut:
    """A tower in two parts.

    below: one batch of the tower's inputs to states, (B, L, W) or (B, D). above: states, and the token ids (B, L) of
    texts, to the tower's output (B, D). blocks: how many blocks lie below, of how many; WHOLE if nothing is trained.
    """

    below: Callable[[torch.Tensor], torch.Tensor]
    above: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
    blocks: str


def whole(encode: Callable[[torch.Tensor], torch.Tensor]) -> Cut:
    """A tower of which nothing is trained: its output is stored."""
    return Cut(encode, lambda states, _: states, WHOLE)


def cut_image(visual: nn.Module, normalise: Callable[[torch.Tensor], torch.Tensor]) -> Cut | None:
    """open_clip's VisionTransformer at its first trained block; None for other classes, and if none lies below."""
    if type(visual) is not VisionTransformer or visual.output_tokens:
        return None
    own = {"transformer", "ln_post", "attn_pool", "attn_pool_contrastive", "proj"}
    count = _frozen_blocks(visual, visual.transformer, own)
    if not count:
        return None
    lower, upper = _parts(visual.transformer, count)

    def above(states: torch.Tensor, _: torch.Tensor | None) -> torch.Tensor:
        pooled = visual._pool(upper(states))[0]
        return pooled if visual.proj is None else pooled @ visual.proj

    return Cut(lambda images: lower(visual._embeds(normalise(images))), above, _share(count, visual.transformer))


def cut_text(clip: Any) -> Cut | None:
    """The text tower of open_clip's CLIP at its first trained block; None for other classes, and if none lies below."""
    if type(clip) is not open_clip.CLIP or clip.attn_mask is None or clip.text_pool_type != "argmax":
        return None
    own = {"transformer", "visual", "ln_final", "text_projection", "logit_scale", "logit_bias"}
    count = _frozen_blocks(clip, clip.transformer, own)
    if not count:
        return None
    lower, upper = _parts(clip.transformer, count)

    def below(tokens: torch.Tensor) -> torch.Tensor:
        return lower(embedded(clip, tokens), attn_mask=_mask(clip, tokens.shape[1]))

    def above(states: torch.Tensor, tokens: torch.Tensor | None) -> torch.Tensor:
        assert tokens is not None, "a caption's end is found in its tokens"
        length = tokens.shape[1]
        return projected(clip, last_tokens(upper, states[:, :length], tokens, _mask(clip, length)))

    return Cut(below, above, _share(count, clip.transformer))


def _mask(clip: Any, length: int) -> torch.Tensor:
    return clip.attn_mask[:length, :length]


def _share(count: int, transformer: Any) -> str:
    return f"{count} of {len(transformer.resblocks)} blocks"


def _frozen_blocks(tower: nn.Module, transformer: Any, above: set[str]) -> int:
    """The number of blocks below the first trained one; 0 if anything below the blocks is trained.

    above: the names of the tower's parts that follow the embedding of its inputs.
    """
    inputs = [p for name, p in tower.named_parameters() if name.split(".")[0] not in above]
    if not transformer.batch_first or any(p.requires_grad for p in inputs):
        return 0
    trained = [any(p.requires_grad for p in block.parameters()) for block in transformer.resblocks]
    return trained.index(True) if True in trained else len(trained)


def _parts(transformer: Any, count: int) -> tuple[Any, Any]:
    """The transformer's first `count` blocks and the others, as transformers that share its modules."""
    found = []
    for blocks in (transformer.resblocks[:count], transformer.resblocks[count:]):
        part = copy.copy(transformer)
        part._modules = {**transformer._modules, "resblocks": blocks}
        found.append(part)
    return found[0], found[1]
