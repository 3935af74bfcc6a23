"""ALBEF for NLVR2 (arXiv 2107.07651, section 5): whether a statement is true of two images.

Every fusion layer is doubled: the first of a pair reads the left image, the second the right one. The two share key and
value projections, but not query, output and normalisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.models.fused.albef import AlbefModel, AlbefText, renamed
from lavis.models.fused.classification import DistilledClassifier
from lavis.models.fused.config import AlbefConfig, DistilledConfig
from lavis.models.fused.text import TextEncoder


@dataclass(frozen=True)
class AlbefNlvrConfig(DistilledConfig, AlbefConfig):
    arch: str = "albef_nlvr"
    text_depth: int = 18
    num_classes: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.text_depth - self.fusion_layer) % 2:
            raise ConfigError(
                f"model.text_depth − model.fusion_layer must be even (layers come in pairs, one per image), "
                f"found {self.text_depth} − {self.fusion_layer}"
            )


class PairedText(AlbefText):
    """ALBEF's text tower whose fusion layers read image 0, 1, 0, 1, … of a context (B, 2, N, W)."""

    def __init__(self, config: AlbefNlvrConfig) -> None:
        super().__init__(config)
        self.fusion_layer = config.fusion_layer
        for index in range(self.fusion_layer, self.depth, 2):
            one, two = (self.layers[i].crossattention.self for i in (index, index + 1))
            two.key, two.value = one.key, one.value

    def context_of(self, index: int, context: torch.Tensor) -> torch.Tensor:
        return context[:, (index - self.fusion_layer) % 2]


@registry.register_model("albef_nlvr")
class AlbefNlvr(AlbefModel, DistilledClassifier):
    """As published, the momentum pass uses the online text encoder and never its copy."""

    arch = "albef_nlvr"
    config_class = AlbefNlvrConfig
    ramp_epochs = 2

    def build_text(self) -> TextEncoder:
        return PairedText(self.config_as(AlbefNlvrConfig))

    @property
    def momentum_text(self) -> TextEncoder:
        return self.text_encoder

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Each fusion layer of plain ALBEF goes to both layers of a pair; a file with all 18 layers is not changed."""
        state = super().from_pretraining(state)
        layers, first = "text_encoder.encoder.layer.", self.config_as(AlbefConfig).fusion_layer
        if any(name.startswith(f"{layers}{self.config.text_depth - 1}.") for name in state):
            return state
        doubled = {}
        for index in range(first, self.config.text_depth):
            doubled |= renamed(state, f"{layers}{first + (index - first) // 2}.", f"{layers}{index}.")
        return {**state, **doubled}
