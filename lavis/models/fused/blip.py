"""What BLIP's models share (Li et al., arXiv 2201.12086): their tokens and their text tower."""

from __future__ import annotations

import torch

from lavis.models.fused.base import FusedModel
from lavis.models.fused.text import AttentionBlock, TextEncoder, TextSizes
from lavis.models.fused.tokens import DECODE, ENCODE, Tokens

VOCABULARY = 30524  # BERT's word pieces, [DEC] and [ENC]


class BlipModel(FusedModel):
    """A fused encoder of the BLIP family: two more tokens, cross-attention in every text layer."""

    family = "blip"
    extra_tokens = (DECODE, ENCODE)

    def build_text(self) -> TextEncoder:
        """A text encoder whose layers all cross-attend to the image states (B, N, W) they are given."""
        sizes = TextSizes.of(self.config)
        return TextEncoder(sizes, lambda index: AttentionBlock(sizes, sizes.context))

    def marked(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids (B, L) with [ENC] in place of [CLS], as text that is read together with an image begins."""
        first = torch.full_like(tokens[:, :1], self.tokenizer.number(ENCODE))
        return torch.cat([first, tokens[:, 1:]], dim=1)


class MarkedTexts(BlipModel):
    """All texts go through the encoder together with an image, so all begin with [ENC]."""

    def encode_texts(self, texts: list[str], max_length: int | None = None) -> Tokens:
        found = super().encode_texts(texts, max_length)
        return Tokens(self.marked(found.ids), found.mask)
