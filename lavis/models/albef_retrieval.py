"""ALBEF for retrieval (Li et al., "Align before Fuse", arXiv 2107.07651).

The first `fusion_layer` text layers read only text, the others also the image. Matching continues from the text
states; hard negatives are drawn by the logits against this batch's momentum features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lavis.common.registry import registry
from lavis.models.fused.albef import AlbefModel
from lavis.models.fused.config import AlbefConfig, RetrievalConfig
from lavis.models.fused.retrieval import Contrast, FusedRetrieval, ModalityStates


@dataclass(frozen=True)
class AlbefRetrievalConfig(RetrievalConfig, AlbefConfig):
    arch: str = "albef_retrieval"


@registry.register_model("albef_retrieval")
class AlbefRetrieval(AlbefModel, FusedRetrieval):
    """Draws hard negatives by the logits of the contrastive loss."""

    arch = "albef_retrieval"
    config_class = AlbefRetrievalConfig

    def __init__(self, config: AlbefRetrievalConfig) -> None:
        super().__init__(config)
        self.fusion_layer = config.fusion_layer

    def negative_logits(
        self, contrast: Contrast, images: ModalityStates, texts: ModalityStates
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = len(images.features)
        return contrast.image_to_text[:, :rows], contrast.text_to_image[:, :rows]
