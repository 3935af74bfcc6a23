"""ALBEF for visual entailment (SNLI-VE; arXiv 2107.07651, section 5): one image, one hypothesis, three classes."""

from __future__ import annotations

from dataclasses import dataclass

from lavis.common.registry import registry
from lavis.models.fused.albef import AlbefModel
from lavis.models.fused.classification import DistilledClassifier
from lavis.models.fused.config import AlbefConfig, DistilledConfig


@dataclass(frozen=True)
class AlbefClassificationConfig(DistilledConfig, AlbefConfig):
    arch: str = "albef_classification"


@registry.register_model("albef_classification")
class AlbefClassification(AlbefModel, DistilledClassifier):
    """The share of soft targets grows over one epoch."""

    arch = "albef_classification"
    config_class = AlbefClassificationConfig
