"""BLIP for statements about two images (NLVR2): Li et al., arXiv 2201.12086, section 4.4.

The text, beginning with [ENC], is read once with twin cross-attention to both images (`fused/blip_twin.py`); a head on
its first state predicts whether the statement is true. The objective is cross-entropy, without distillation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lavis.common.registry import registry
from lavis.models.fused.blip import VOCABULARY, MarkedTexts
from lavis.models.fused.blip_twin import doubled, twin_encoder
from lavis.models.fused.classification import FusedClassifier
from lavis.models.fused.config import ClassifierConfig
from lavis.models.fused.text import TextEncoder, TextSizes
from lavis.models.fused.tokens import Tokens
from lavis.settings.declaration import NOTHING, setting


@dataclass(frozen=True)
class BlipNlvrConfig(ClassifierConfig):
    arch: str = "blip_nlvr"
    vocab_size: int = VOCABULARY
    num_classes: int = 2
    max_txt_len: int = setting(
        40,
        "texts are cut after so many tokens",
        least=1,
        affects=NOTHING,
        ignored="statements are cut only where the position table ends",
    )


@registry.register_model("blip_nlvr")
class BlipNlvr(MarkedTexts, FusedClassifier):
    arch = "blip_nlvr"
    config_class = BlipNlvrConfig
    fresh = frozenset({"cls_head", "merge_layer"})

    def build_text(self) -> TextEncoder:
        return twin_encoder(TextSizes.of(self.config))

    def encode_texts(self, texts: list[str], max_length: int | None = None) -> Tokens:
        return super().encode_texts(texts, max_length or self.config.text_positions)

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return doubled(super().from_pretraining(state))
