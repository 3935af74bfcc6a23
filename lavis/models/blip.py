"""BLIP (Li et al., arXiv 2201.12086) and its models for the downstream tasks of section 4."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lavis.common.registry import registry
from lavis.models.fused.base import FusedModel
from lavis.models.fused.blip_twin import FIRST_MERGE, TwinAttentionBlock, doubled
from lavis.models.fused.classification import DistilledClassifier, FusedClassifier
from lavis.models.fused.config import ClassifierConfig, DistilledConfig, RetrievalConfig, VqaConfig
from lavis.models.fused.retrieval import Contrast, FusedRetrieval, ModalityStates, TensorPair
from lavis.models.fused.text import AttentionBlock, TextEncoder, TextSizes
from lavis.models.fused.tokens import DECODE, ENCODE, Tokens
from lavis.models.fused.vqa import FusedVqa
from lavis.settings.conditions import chooses_epoch
from lavis.settings.declaration import NOTHING, RESULTS, setting

VOCABULARY = 30524  # BERT's word pieces, [DEC] and [ENC]


class BlipModel(FusedModel):
    """A fused encoder of the BLIP family: two more tokens, cross-attention in every text layer."""

    family = "blip"
    extra_tokens = (DECODE, ENCODE)

    def build_text(self) -> TextEncoder:
        """A text encoder whose layers all cross-attend to the image states (B, N, W) they are given."""
        sizes = TextSizes.of(self.config)
        return TextEncoder(sizes, lambda index: AttentionBlock(sizes, sizes.context))

    def marked(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids (B, L) with [ENC] in place of [CLS], as text that is read together with an image begins."""
        first = torch.full_like(tokens[:, :1], self.tokenizer.number(ENCODE))
        return torch.cat([first, tokens[:, 1:]], dim=1)


class MarkedTexts(BlipModel):
    """All texts go through the encoder together with an image, so all begin with [ENC]."""

    def encode_texts(self, texts: list[str], max_length: int | None = None) -> Tokens:
        found = super().encode_texts(texts, max_length)
        return Tokens(self.marked(found.ids), found.mask)


@dataclass(frozen=True)
class BlipRetrievalConfig(RetrievalConfig):
    arch: str = "blip_retrieval"
    vocab_size: int = VOCABULARY
    max_txt_len: int = 35
    queue_size: int = 57600


@registry.register_model("blip_retrieval")
class BlipRetrieval(BlipModel, FusedRetrieval):
    """Image-text retrieval (sections 3.2 and 4.1), with the text encoder used in two ways.

    Text alone, beginning with [CLS] and without cross-attention, gives the features of the contrastive loss; for
    matching the same ids, beginning with [ENC], are embedded a second time with cross-attention to an image. Hard
    negatives are drawn by the online features of both modalities.
    """

    config_class = BlipRetrievalConfig

    def matching_text(self, tokens: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        return self.marked(tokens)

    def negative_logits(self, contrast: Contrast, images: ModalityStates, texts: ModalityStates) -> TensorPair:
        logits = (images.features @ texts.features.T / self.temp).detach()
        return logits, logits.T


@dataclass(frozen=True)
class BlipClassificationConfig(DistilledConfig):
    arch: str = "blip_classification"
    vocab_size: int = VOCABULARY


@registry.register_model("blip_classification")
class BlipClassification(BlipModel, DistilledClassifier):
    """Visual entailment (SNLI-VE), with ALBEF's recipe: momentum copies of all parts provide soft targets.

    Texts begin with [CLS]: unlike BLIP's other models, the published one does not replace it by [ENC].
    """

    config_class = BlipClassificationConfig


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
    """Whether a statement is true of two images (NLVR2; section 4.4), learned without distillation.

    The text is read once with twin cross-attention to both images (`fused/blip_twin.py`); a head on its first state
    predicts the answer.
    """

    config_class = BlipNlvrConfig
    fresh = frozenset({"cls_head", "merge_layer"})

    def build_text(self) -> TextEncoder:
        sizes = TextSizes.of(self.config)
        return TextEncoder(sizes, lambda index: TwinAttentionBlock(sizes, merge=index >= FIRST_MERGE))

    def encode_texts(self, texts: list[str], max_length: int | None = None) -> Tokens:
        return super().encode_texts(texts, max_length or self.config.text_positions)

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return doubled(super().from_pretraining(state))


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
    """Visual question answering (section 4.3), without distillation.

    A decoder with as many layers as the encoder starts its answer with [DEC] and cross-attends to all question states.

    Questions of a batch are padded to one length. Training and ranking never attend to the padding; the published code
    does when it generates, as does `model.attend_padding_in_generation: true`. By default an answer does not depend on
    the other questions of its batch.
    """

    config_class = BlipVqaConfig
    answer_start = DECODE

    def generation_mask(self, mask: torch.Tensor) -> torch.Tensor:
        everywhere = self.config_as(BlipVqaConfig).attend_padding_in_generation
        return torch.ones_like(mask) if everywhere else mask
