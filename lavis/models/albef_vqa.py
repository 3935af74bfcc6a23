"""ALBEF for visual question answering (arXiv 2107.07651, section 5).

The question goes through ALBEF's encoder; a decoder of `decoder_depth` layers, each with cross-attention to all
question states, produces the answers. Momentum copies of all three parts provide soft targets for every token. The
published code also updates the copies during prediction; here prediction changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from lavis.common.registry import registry
from lavis.models.base import Inputs, TrainingStep
from lavis.models.fused.albef import AlbefModel, renamed
from lavis.models.fused.config import AlbefConfig, MomentumConfig, VqaConfig
from lavis.models.fused.momentum import MomentumModel
from lavis.models.fused.text import TextDecoder, TextEncoder
from lavis.models.fused.vqa import FusedVqa

RAMP_EPOCHS = 1


@dataclass(frozen=True)
class AlbefVqaConfig(VqaConfig, MomentumConfig, AlbefConfig):
    arch: str = "albef_vqa"
    decoder_depth: int = 6


@registry.register_model("albef_vqa")
class AlbefVqa(AlbefModel, FusedVqa, MomentumModel):
    """Three momentum copies; answers start with [CLS]."""

    arch = "albef_vqa"
    config_class = AlbefVqaConfig
    visual_encoder_m: nn.Module
    text_encoder_m: TextEncoder
    text_decoder_m: TextDecoder

    def __init__(self, config: AlbefVqaConfig) -> None:
        super().__init__(config)
        self.add_momentum("visual_encoder", "text_encoder", "text_decoder")

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The decoder also starts from pretraining's fusion layers, embeddings and language-model head."""
        state = super().from_pretraining(state)
        config, encoder, decoder = self.config_as(AlbefVqaConfig), "text_encoder.", "text_decoder.bert."
        copied = renamed(state, f"{encoder}embeddings.", f"{decoder}embeddings.")
        copied |= renamed(state, "text_encoder.cls.", "text_decoder.cls.")
        for index in range(config.decoder_depth):
            layer = f"{encoder}encoder.layer.{config.fusion_layer + index}."
            copied |= renamed(state, layer, f"{decoder}encoder.layer.{index}.")
        return {**state, **copied}

    @torch.no_grad()
    def momentum_logits(self, inputs: Inputs) -> torch.Tensor:
        """Logits (A, L, V) of the momentum copies."""
        images = self.image_states(inputs["images"], self.visual_encoder_m)
        states = self.text_encoder_m(inputs["tokens"], inputs["mask"], images)
        return self.answer_logits(self.text_decoder_m, states, inputs)

    def objective(self, inputs: Inputs, progress: TrainingStep) -> dict[str, torch.Tensor]:
        self.begin_step(progress)
        teacher = self.momentum_logits(inputs) if self.config_as(MomentumConfig).use_distill else None
        return {"lm": self.answer_loss(inputs, teacher, self.soft_share(progress, RAMP_EPOCHS))}
