"""BLIP for retrieval (Li et al., arXiv 2201.12086, sections 3.2 and 4.1).

The text encoder is used in two ways: text alone, beginning with [CLS] and without cross-attention, gives the features
of the contrastive loss; for matching the same ids, beginning with [ENC], are embedded a second time with
cross-attention to an image. Hard negatives are drawn by the online features of both modalities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lavis.common.registry import registry
from lavis.models.fused.blip import VOCABULARY, BlipModel
from lavis.models.fused.config import RetrievalConfig
from lavis.models.fused.retrieval import Contrast, FusedRetrieval, ModalityStates


@dataclass(frozen=True)
class BlipRetrievalConfig(RetrievalConfig):
    arch: str = "blip_retrieval"
    vocab_size: int = VOCABULARY
    max_txt_len: int = 35
    queue_size: int = 57600


@registry.register_model("blip_retrieval")
class BlipRetrieval(BlipModel, FusedRetrieval):
    arch = "blip_retrieval"
    config_class = BlipRetrievalConfig

    def matching_text(self, tokens: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        return self.marked(tokens)

    def negative_logits(
        self, contrast: Contrast, images: ModalityStates, texts: ModalityStates
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logits = (images.features @ texts.features.T / self.temp).detach()
        return logits, logits.T
