"""ALBEF's text tower: `fusion_layer` layers of text, the rest with cross-attention (arXiv 2107.07651, section 3.1)."""

from __future__ import annotations

from typing import Any

from lavis.common.errors import ConfigError
from lavis.models.fused.text import AttentionBlock, TextEncoder, TextSizes


class AlbefText(TextEncoder):
    """Cross-attention in layers `fusion_layer` and later."""

    def __init__(self, config: Any) -> None:
        sizes = TextSizes.of(config)
        fusion = config.fusion_layer
        super().__init__(sizes, lambda index: AttentionBlock(sizes, sizes.context) if index >= fusion else None)


def check_fusion(config: Any) -> None:
    """Raises ConfigError unless text and fusion both have layers."""
    if not 0 < config.fusion_layer < config.text_depth:
        raise ConfigError(
            f"model.fusion_layer ({config.fusion_layer}) must lie between 1 and model.text_depth − 1 "
            f"({config.text_depth - 1})"
        )
