"""ALBEF for visual entailment (SNLI-VE; arXiv 2107.07651, section 5): one image, one hypothesis, three classes."""

from __future__ import annotations

from dataclasses import dataclass

from lavis.common.registry import registry
from lavis.models.fused.albef import AlbefModel
from lavis.models.fused.classification import DistilledClassifier
from lavis.models.fused.config import ClassifierConfig, MomentumConfig


@dataclass
class AlbefClassificationConfig(ClassifierConfig, MomentumConfig):
    arch: str = "albef_classification"
    fusion_layer: int = 6


@registry.register_model("albef_classification")
class AlbefClassification(AlbefModel, DistilledClassifier):
    """The share of soft targets grows over one epoch."""

    arch = "albef_classification"
    config_class = AlbefClassificationConfig
