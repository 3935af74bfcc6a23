"""BLIP for visual entailment (SNLI-VE), with the text encoder of arXiv 2201.12086 and ALBEF's recipe.

Like `albef_classification`, but every text layer cross-attends to the image. Texts begin with [CLS]: unlike BLIP's
other models, the published one does not replace it by [ENC]. Momentum copies of all parts provide soft targets.
"""

from __future__ import annotations

from dataclasses import dataclass

from lavis.common.registry import registry
from lavis.models.fused.blip import VOCABULARY, BlipModel
from lavis.models.fused.classification import DistilledClassifier
from lavis.models.fused.config import DistilledConfig


@dataclass(frozen=True)
class BlipClassificationConfig(DistilledConfig):
    arch: str = "blip_classification"
    vocab_size: int = VOCABULARY


@registry.register_model("blip_classification")
class BlipClassification(BlipModel, DistilledClassifier):
    arch = "blip_classification"
    config_class = BlipClassificationConfig
