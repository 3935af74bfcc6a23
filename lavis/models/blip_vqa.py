"""BLIP for visual question answering (Li et al., arXiv 2201.12086, section 4.3).

The question, beginning with [ENC], is read together with the image; a decoder with as many layers starts its answer
with [DEC] and cross-attends to all question states. There is no distillation.

Questions of a batch are padded to one length. Training and ranking never attend to the padding; the published code
does when it generates, as does `model.attend_padding_in_generation: true`. By default an answer does not depend on the
other questions of its batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lavis.common.registry import registry
from lavis.models.fused.blip import VOCABULARY, MarkedTexts
from lavis.models.fused.config import VqaConfig
from lavis.models.fused.tokens import DECODE
from lavis.models.fused.vqa import FusedVqa
from lavis.settings.conditions import chooses_epoch
from lavis.settings.declaration import RESULTS, setting


@dataclass(frozen=True)
class BlipVqaConfig(VqaConfig):
    arch: str = "blip_vqa"
    image_size: int | None = 480
    vocab_size: int = VOCABULARY
    attend_padding_in_generation: bool = setting(
        False, "generated answers read padded positions, as published", affects=RESULTS, weights_if=chooses_epoch
    )


@registry.register_model("blip_vqa")
class BlipVqa(MarkedTexts, FusedVqa):
    arch = "blip_vqa"
    config_class = BlipVqaConfig
    answer_start = DECODE

    def generation_mask(self, mask: torch.Tensor) -> torch.Tensor:
        everywhere = self.config_as(BlipVqaConfig).attend_padding_in_generation
        return torch.ones_like(mask) if everywhere else mask
