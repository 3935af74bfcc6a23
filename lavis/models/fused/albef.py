"""ALBEF's text tower: `fusion_layer` layers of text, the rest with cross-attention (arXiv 2107.07651, section 3.1)."""

from __future__ import annotations

from typing import Any

import torch

from lavis.common.errors import ConfigError
from lavis.models.fused.base import FusedModel
from lavis.models.fused.text import AttentionBlock, TextEncoder, TextSizes


class AlbefText(TextEncoder):
    """Cross-attention in layers `fusion_layer` and later."""

    def __init__(self, config: Any) -> None:
        sizes = TextSizes.of(config)
        fusion = config.fusion_layer
        super().__init__(sizes, lambda index: AttentionBlock(sizes, sizes.context) if index >= fusion else None)


class AlbefModel(FusedModel):
    """A fused encoder of the ALBEF family."""

    family = "albef"

    def __init__(self, config: Any) -> None:
        check_fusion(config)
        super().__init__(config)

    def build_text(self, config: Any) -> TextEncoder:
        return AlbefText(config)

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Pretraining keeps the text encoder below `text_encoder.bert`, beside its language-model head."""
        state = super().from_pretraining(state)
        return {**state, **renamed(state, "text_encoder.bert.", "text_encoder.")}


def renamed(state: dict[str, torch.Tensor], old: str, new: str) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with `old`, under names that begin with `new`."""
    return {new + name.removeprefix(old): value for name, value in state.items() if name.startswith(old)}


def check_fusion(config: Any) -> None:
    """Raises ConfigError unless text and fusion both have layers."""
    if not 0 < config.fusion_layer < config.text_depth:
        raise ConfigError(
            f"model.fusion_layer ({config.fusion_layer}) must lie between 1 and model.text_depth − 1 "
            f"({config.text_depth - 1})"
        )
