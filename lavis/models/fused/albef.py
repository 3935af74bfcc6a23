"""ALBEF's text tower: `fusion_layer` text layers, then layers with cross-attention (arXiv 2107.07651, section 3.1)."""

from __future__ import annotations

import torch

from lavis.models.fused.base import FusedModel
from lavis.models.fused.config import AlbefConfig
from lavis.models.fused.text import AttentionBlock, TextEncoder, TextSizes


class AlbefText(TextEncoder):
    """Cross-attention in layers `fusion_layer` and later."""

    def __init__(self, config: AlbefConfig) -> None:
        sizes = TextSizes.of(config)
        fusion = config.fusion_layer
        super().__init__(sizes, lambda index: AttentionBlock(sizes, sizes.context) if index >= fusion else None)


class AlbefModel(FusedModel):
    """A fused encoder of the ALBEF family."""

    family = "albef"

    def build_text(self) -> TextEncoder:
        return AlbefText(self.config_as(AlbefConfig))

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Pretraining stores the text encoder below `text_encoder.bert`, next to its language-model head."""
        state = super().from_pretraining(state)
        return {**state, **renamed(state, "text_encoder.bert.", "text_encoder.")}


def renamed(state: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with `old`, under names that begin with `new`."""
    return {new + name.removeprefix(old): value for name, value in state.items() if name.startswith(old)}
