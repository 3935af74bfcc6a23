"""BLIP for statements about two images (NLVR2): Li et al., arXiv 2201.12086, section 4.4.

The text is read once, with [ENC] first and twin cross-attention to both images (`fused/blip_twin.py`); a head on
its first state says whether the statement is true. The objective is the cross-entropy; nothing is distilled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from lavis.common.features import FusedFeatures
from lavis.common.registry import registry
from lavis.models.base import Inputs, Progress
from lavis.models.fused.blip import VOCABULARY, BlipModel
from lavis.models.fused.blip_twin import doubled, twin_encoder
from lavis.models.fused.config import FusedConfig
from lavis.models.fused.text import TextSizes, classification_head
from lavis.models.fused.tokens import Tokens


@dataclass
class BlipNlvrConfig(FusedConfig):
    """Statements are not cut as long as the position table lasts: `max_txt_len` is not read."""

    arch: str = "blip_nlvr"
    vocab_size: int = VOCABULARY
    num_classes: int = 2


@registry.register_model("blip_nlvr")
class BlipNlvr(BlipModel):
    arch = "blip_nlvr"
    config_class = BlipNlvrConfig
    features = FusedFeatures
    fresh = frozenset({"cls_head", "merge_layer"})

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.text_encoder = twin_encoder(TextSizes.of(config))
        self.cls_head = classification_head(config.text_width, config.num_classes)

    def encode_texts(self, texts: list[str], max_length: int | None = None) -> Tokens:
        """Token ids and mask, whole unless the position table ends."""
        return super().encode_texts(texts, max_length or self.config.text_positions)

    def image_states(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 pixels (B, 2, 3, S, S) to the image encoder's states (B, 2, N, H)."""
        return super().image_states(images.flatten(0, 1)).unflatten(0, (-1, 2))

    def represent(self, inputs: Inputs) -> FusedFeatures:
        """States of both images, and the first state of the text that was read with them."""
        states = self.image_states(inputs["images"])
        fused = self.text_encoder(self.as_encoder_input(inputs["tokens"]), inputs["mask"], states)
        return FusedFeatures(states, fused[:, 0])

    def classify(self, inputs: Inputs) -> torch.Tensor:
        """Logits (B, classes)."""
        return self.cls_head(self.represent(inputs).fused)

    def objective(self, inputs: Inputs, progress: Progress) -> dict[str, torch.Tensor]:
        """The term "ce"."""
        return {"ce": F.cross_entropy(self.classify(inputs), inputs["labels"])}

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return doubled(state)
