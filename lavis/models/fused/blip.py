"""What BLIP's models share (Li et al., arXiv 2201.12086): their tokens, text tower and pretraining weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch

from lavis.common.checkpoint import describe_mismatch
from lavis.common.errors import CheckpointError
from lavis.models.fused.base import FusedModel
from lavis.models.fused.text import AttentionBlock, TextEncoder, TextSizes
from lavis.models.fused.tokens import DECODE, ENCODE

VOCABULARY = 30524  # BERT's word pieces, [DEC] and [ENC]


class BlipModel(FusedModel):
    """A fused encoder of the BLIP family: two more tokens, cross-attention in every text layer.

    `fresh` names the parts, at any depth, that pretraining does not give.
    """

    family = "blip"
    extra_tokens = (DECODE, ENCODE)
    fresh: ClassVar[frozenset[str]] = frozenset({"cls_head"})

    def as_encoder_input(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids (B, L) with [ENC] in place of [CLS]: the sign that text is read together with an image."""
        marked = tokens.clone()
        marked[:, 0] = self.tokenizer.number(ENCODE)
        return marked

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The pretraining stage's weights under this model's names."""
        return state

    def load_pretraining(self, source: str | Path) -> None:
        state = self.from_pretraining(self.read_state(source))
        own = {name: tensor for name, tensor in self.state_dict().items() if self.fresh.isdisjoint(name.split("."))}
        given = {name: state[name] for name in own if name in state}
        difference = describe_mismatch(own, given, source)
        if difference:
            raise CheckpointError(f"{difference}. model.pretraining of {self.arch} takes weights of BLIP's pretraining")
        self.load_state_dict(given, strict=False)


def blip_encoder(config: Any) -> TextEncoder:
    """A text encoder whose layers all cross-attend to the image states (B, N, W) they are given."""
    sizes = TextSizes.of(config)
    return TextEncoder(sizes, lambda index: AttentionBlock(sizes, sizes.context))
