"""ALBEF for visual entailment (SNLI-VE; arXiv 2107.07651, section 5): one image, one hypothesis, three classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lavis.common.registry import registry
from lavis.models.fused.albef import AlbefText, check_fusion
from lavis.models.fused.classification import DistilledClassifier
from lavis.models.fused.config import ClassifierConfig, MomentumConfig
from lavis.models.fused.text import TextEncoder


@dataclass
class AlbefClassificationConfig(ClassifierConfig, MomentumConfig):
    arch: str = "albef_classification"
    fusion_layer: int = 6


@registry.register_model("albef_classification")
class AlbefClassification(DistilledClassifier):
    arch = "albef_classification"
    family = "albef"
    config_class = AlbefClassificationConfig

    def __init__(self, config: Any) -> None:
        check_fusion(config)
        super().__init__(config)

    def build_text(self, config: Any) -> TextEncoder:
        return AlbefText(config)
