"""Retrieval with a fused encoder: contrast of projected features, then matching by cross-attention.

L = L_itc + L_itm (ALBEF, arXiv 2107.07651, sections 3.2 and 3.4; BLIP, arXiv 2201.12086, section 3.2).

| paper | here |
|---|---|
| g_v, g_w | vision_proj, text_proj |
| τ | temp |
| y^q2q | momentum logits in `Contrast.*_targets` |
| p^itm | itm_head on the fused [CLS] |
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from lavis.common.features import FusedPairFeatures
from lavis.losses.itc import itc_loss, same_image_targets, soften
from lavis.losses.itm import draw_negatives, hard_negative_weights, itm_loss
from lavis.models.base import Inputs, TrainingStep
from lavis.models.fused.config import RetrievalConfig
from lavis.models.fused.momentum import FeatureQueue, MomentumModel
from lavis.models.fused.tokens import Tokens

MIN_TEMP, MAX_TEMP = 0.001, 0.5
TensorPair = tuple[torch.Tensor, torch.Tensor]


@dataclass
class ModalityStates:
    """One modality of B entries.

    Attributes:
        features: projected, L2-normalised, (B, D), for cosines.
        states: for matching: (B, N, H) of images; of captions the states (B, L, H) or ids (B, L).
        mask: (B, L) of texts, None of images.
    """

    features: torch.Tensor
    states: torch.Tensor
    mask: torch.Tensor | None = None

    def take(self, rows: torch.Tensor) -> ModalityStates:
        """The entries with the given numbers."""
        mask = None if self.mask is None else self.mask[rows]
        return ModalityStates(self.features[rows], self.states[rows], mask)


@dataclass
class Contrast:
    """Logits and targets of the contrast, each (B, B + K): this batch's momentum features, then the queue's."""

    image_to_text: torch.Tensor
    text_to_image: torch.Tensor
    image_targets: torch.Tensor
    text_targets: torch.Tensor

    @property
    def loss(self) -> torch.Tensor:
        return itc_loss(self.image_to_text, self.text_to_image, self.image_targets, self.text_targets)


class FusedRetrieval(MomentumModel):
    """Fusion begins at `fusion_layer`; None: text and fusion use all layers."""

    config_class = RetrievalConfig
    features = FusedPairFeatures
    fresh = frozenset(FeatureQueue.NAMES)
    fusion_layer: int | None = None
    ramp_epochs = 2
    vision_proj_m: nn.Module
    text_proj_m: nn.Module

    def __init__(self, config: RetrievalConfig) -> None:
        super().__init__(config)
        self.vision_proj = nn.Linear(config.vision_width, config.embed_dim)
        self.text_proj = nn.Linear(config.text_width, config.embed_dim)
        self.itm_head = nn.Linear(config.text_width, 2)
        self.temp = nn.Parameter(torch.tensor(float(config.temp)))
        self.add_momentum("visual_encoder", "text_encoder", "vision_proj", "text_proj")
        self.queue = FeatureQueue(self, config.embed_dim, config.queue_size)

    def matching_text(self, tokens: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """What matching starts from: the text states, or ids to embed with the image."""
        return states

    def negative_logits(self, contrast: Contrast, images: ModalityStates, texts: ModalityStates) -> TensorPair:
        """Logits (B, B), image to text and text to image, by which hard negatives are drawn."""
        raise NotImplementedError

    def image_states_of(self, images: torch.Tensor) -> ModalityStates:
        """Of uint8 pixels (B, 3, S, S)."""
        states = self.image_states(images)
        return ModalityStates(F.normalize(self.vision_proj(states[:, 0]), dim=-1), states)

    def text_states_of(self, tokens: torch.Tensor, mask: torch.Tensor) -> ModalityStates:
        """Of token ids and mask (B, L)."""
        states = self.text_encoder(tokens, mask, last=self.fusion_layer)
        features = F.normalize(self.text_proj(states[:, 0]), dim=-1)
        return ModalityStates(features, self.matching_text(tokens, states), mask)

    @torch.no_grad()
    def momentum_features(self, inputs: Inputs) -> TensorPair:
        """Image and text features (B, D) of the momentum copies."""
        images = self.image_states(inputs["images"], self.visual_encoder_m)
        texts = self.text_encoder_m(inputs["tokens"], inputs["mask"], last=self.fusion_layer)
        projected = self.vision_proj_m(images[:, 0]), self.text_proj_m(texts[:, 0])
        return F.normalize(projected[0], dim=-1), F.normalize(projected[1], dim=-1)

    def fuse(self, images: torch.Tensor, texts: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Text states (B, L, H) after cross-attention to the image states of the same row."""
        return self.text_encoder(texts, mask, images, first=self.fusion_layer or 0)

    def represent(self, inputs: Inputs) -> FusedPairFeatures:
        """Projected features of both modalities, and the fused [CLS] of each true pair."""
        images, texts = self.image_states_of(inputs["images"]), self.text_states_of(inputs["tokens"], inputs["mask"])
        fused = self.fuse(images.states, texts.states, inputs["mask"])
        return FusedPairFeatures(images.features, texts.features, fused[:, 0])

    def objective(self, inputs: Inputs, progress: TrainingStep) -> dict[str, torch.Tensor]:
        """The terms "itc" and "itm" of the published objective; updates momentum copies and queue."""
        self.clamp_scale()
        if self.begin_step(progress):
            self.queue.flush()
        images, texts = self.image_states_of(inputs["images"]), self.text_states_of(inputs["tokens"], inputs["mask"])
        slow, ids = self.momentum_features(inputs), inputs["image_ids"]
        own, share = (images.features, texts.features), self.soft_share(progress)
        contrast = self.contrast(own, slow, ids, share)
        self.queue.put(*slow, ids)
        logits = self.match_logits(*self.matching_batch(images, texts, *self.draw(contrast, images, texts, ids)))
        return {"itc": contrast.loss, "itm": itm_loss(logits, len(ids))}

    def contrast(self, own: TensorPair, slow: TensorPair, ids: torch.Tensor, share: float) -> Contrast:
        """Image and text features (B, D) against momentum features of this batch (`slow`) and the queue.

        `share` of the targets is soft. In single precision whatever the towers run in.
        """
        (images, texts), (slow_images, slow_texts) = ([part.float() for part in pair] for pair in (own, slow))
        hard = same_image_targets(ids, torch.cat([ids, self.queue.ids]))
        with torch.autocast(images.device.type, enabled=False):
            all_images = torch.cat([slow_images.T, self.queue.images], dim=1)
            all_texts = torch.cat([slow_texts.T, self.queue.texts], dim=1)
            with torch.no_grad():
                image_targets = soften(hard, slow_images @ all_texts / self.temp, share)
                text_targets = soften(hard, slow_texts @ all_images / self.temp, share)
            to_text, to_image = images @ all_texts / self.temp, texts @ all_images / self.temp
        return Contrast(to_text, to_image, image_targets, text_targets)

    def draw(self, contrast: Contrast, images: ModalityStates, texts: ModalityStates, ids: torch.Tensor) -> TensorPair:
        """Row numbers of an image for every text, then of a text for every image; empty in a batch of one image."""
        image_to_text, text_to_image = self.negative_logits(contrast, images, texts)
        image_for_text = draw_negatives(hard_negative_weights(text_to_image, ids))
        return image_for_text, draw_negatives(hard_negative_weights(image_to_text, ids))

    @staticmethod
    def matching_batch(
        images: ModalityStates, texts: ModalityStates, image_for_text: torch.Tensor, text_for_image: torch.Tensor
    ) -> tuple[ModalityStates, ModalityStates]:
        """Rows [true pairs | wrong image, own caption | own image, wrong caption]."""
        own = torch.arange(len(images.features), device=images.features.device)
        unmatched = own[: len(image_for_text)]
        return (
            images.take(torch.cat([own, image_for_text, unmatched])),
            texts.take(torch.cat([own, unmatched, text_for_image])),
        )

    def match_logits(self, images: ModalityStates, texts: ModalityStates) -> torch.Tensor:
        """(B, 2) of B pairs; column 1 is "they match"."""
        assert texts.mask is not None
        return self.itm_head(self.fuse(images.states, texts.states, texts.mask)[:, 0])

    def match(self, images: ModalityStates, texts: ModalityStates) -> torch.Tensor:
        """Logit of "they match" of B pairs, (B,)."""
        return self.match_logits(images, texts)[:, 1]

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 pixels (B, 3, S, S) to features (B, D)."""
        return self.image_states_of(images).features

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids (B, L), padded by the tokenizer, to features (B, D)."""
        return self.text_states_of(tokens, tokens != self.tokenizer.pad).features

    def tokenize(self, captions: list[str]) -> torch.Tensor:
        """Token ids (B, L) for ranking."""
        return self.ranking_tokens(captions).ids

    def ranking_tokens(self, captions: list[str]) -> Tokens:
        """Token ids and mask for ranking, cut after model.eval_txt_len."""
        return self.encode_texts(captions, self.config_as(RetrievalConfig).eval_txt_len)

    @property
    def scale(self) -> torch.Tensor:
        """1/τ."""
        return 1 / self.temp

    def scale_parameters(self) -> list[nn.Parameter]:
        return [self.temp]

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """0.001 ≤ τ ≤ 0.5, as published."""
        self.temp.clamp_(MIN_TEMP, MAX_TEMP)

    def checkpoint_state(self) -> dict[str, torch.Tensor]:
        self.queue.flush()
        return super().checkpoint_state()
