"""Models of an image and a text tower: what open_clip's and transformers' ones do alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lavis.common.checkpoint import describe_mismatch
from lavis.common.errors import CheckpointError
from lavis.common.features import PairFeatures
from lavis.hub.recipe import Recipe
from lavis.losses.sigmoid import pair_loss
from lavis.models.adapters import add_lora, linear_weights, merged_state
from lavis.models.base import BaseModel, CaptionTokens, Inputs, Tokenize, TrainingStep
from lavis.towers.prefix import Cut, whole

MAX_LOG_SCALE = math.log(100.0)


@dataclass(frozen=True)
class Embeddings:
    """What `extract_features` returns: (B, D) each, or None."""

    image_embeds: torch.Tensor | None
    text_embeds: torch.Tensor | None


class TwoTowers(BaseModel):
    """`clip` is the library's model, with the parameter `logit_scale` and, for the sigmoid loss, `logit_bias`.

    Checkpoints carry the library's own keys. Subclasses write `image_rows`, `text_rows`, `load_weights` and
    `text_parameters`. `tokenizer` gives the ids of captions, padded with `padding`.
    """

    family = "clip"
    text_inputs = ("tokens", "mask", "text_states")
    shards = True
    adapts = True
    short_captions = False  # whether captions need no padding to the context length
    clip: Any  # the libraries' models have no common base

    def __init__(self, clip: Any, recipe: Recipe, tokenizer: Tokenize, padding: int = 0) -> None:
        super().__init__()
        self.clip, self.recipe, self.most_log_scale = clip, recipe, MAX_LOG_SCALE
        self.adapted, self.cuts = False, {}
        self._tokenizer, self._tokens = tokenizer, CaptionTokens(tokenizer, padding)
        pixels = recipe.pixels
        self.register_buffer("image_mean", torch.tensor(pixels.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(pixels.std).view(3, 1, 1), persistent=False)

    def prepare(self, rows: dict[str, Any]) -> Inputs:
        return {**rows, "tokens": self.caption_tokens()(rows["captions"])}

    def caption_tokens(self) -> CaptionTokens:
        self._tokens.lengths = self.text_lengths if self.short_captions else ()
        return self._tokens

    def tokenize(self, captions: list[str]) -> torch.Tensor:
        return self._tokenizer(captions)

    def represent(self, inputs: Inputs) -> PairFeatures:
        return PairFeatures(self.image_of(inputs), self.text_of(inputs))

    def image_of(self, inputs: Inputs) -> torch.Tensor:
        """Embeddings (B, D) of a batch's images, from stored states if it has them."""
        states = inputs.get("image_states")
        return self.encode_image(inputs["images"]) if states is None else self.cuts["image"].above(states, None)

    def text_of(self, inputs: Inputs) -> torch.Tensor:
        """Embeddings (B, D) of a batch's captions, from stored states if it has them."""
        states, tokens = inputs.get("text_states"), inputs["tokens"]
        return self.encode_text(tokens) if states is None else self.cuts["text"].above(states, tokens)

    def tower_cuts(self) -> dict[str, Cut]:
        text = {id(p) for p in self.text_parameters()}
        apart = text | {id(p) for p in self.scale_parameters()}
        trained = {id(p) for p in self.parameters() if p.requires_grad}
        image = self.image_cut() if trained - apart else whole(self.encode_image)
        found = {"image": image, "text": self.text_cut() if trained & text else whole(self.encode_text)}
        return {side: cut for side, cut in found.items() if cut is not None}

    def image_cut(self) -> Cut | None:
        """The image tower at its first trained block; None if it cannot be cut."""
        return None

    def text_cut(self) -> Cut | None:
        """The text tower at its first trained block; None if it cannot be cut."""
        return None

    def image_rows(self, images: torch.Tensor) -> torch.Tensor:
        """The library's embeddings (B, D) of uint8 pixels (B, 3, S, S)."""
        raise NotImplementedError

    def text_rows(self, tokens: torch.Tensor) -> torch.Tensor:
        """The library's embeddings (B, D) of token ids (B, L)."""
        raise NotImplementedError

    def encode_image(self, images: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """uint8 pixels (B, 3, S, S), as the processors give them, to embeddings (B, D), if asked for of length 1."""
        rows = self.image_rows(images)
        return F.normalize(rows, dim=-1) if normalize else rows

    def encode_text(self, tokens: torch.Tensor, normalize: bool = False) -> torch.Tensor:
        """Token ids (B, L), as `tokenize` gives them, to embeddings (B, D), if asked for of length 1."""
        rows = self.text_rows(tokens)
        return F.normalize(rows, dim=-1) if normalize else rows

    def extract_features(self, samples: dict[str, Any]) -> Embeddings:
        """LAVIS's method: embeddings of length 1 of `image` (B, 3, S, S) and of the captions `text_input`, if given."""
        images, captions = samples.get("image"), samples.get("text_input")
        device = self.image_mean.device
        return Embeddings(
            None if images is None else self.encode_image(images.to(device), normalize=True),
            None if captions is None else self.encode_text(self.tokenize(list(captions)).to(device), normalize=True),
        )

    def objective(self, inputs: Inputs, progress: TrainingStep) -> dict[str, torch.Tensor]:
        return self.pair_objective(self.represent(inputs), inputs.get("caption_groups"))

    def pair_objective(self, pairs: PairFeatures, groups: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """CLIP's loss (arXiv 2103.00020, section 2.3) or SigLIP's; in single precision whatever the towers run in."""
        name = "contrastive" if self.bias is None else "sigmoid"
        with torch.autocast(pairs.image.device.type, enabled=False):
            return {name: pair_loss(pairs, self.scale, self.bias, groups)}

    @property
    def scale(self) -> torch.Tensor:
        return self.clip.logit_scale.exp()

    @property
    def bias(self) -> torch.Tensor | None:
        return self.clip.logit_bias if self.recipe.sigmoid else None

    def scale_parameters(self) -> list[nn.Parameter]:
        return [p for name, p in self.clip.named_parameters() if name in ("logit_scale", "logit_bias")]

    def unlearning_mode(self) -> None:
        """Evaluation's: statistics stay those of the original training data, and no patch, path or weight is dropped.

        Otherwise the forget set would leave its mean in a batch normalisation, and the student would differ from the
        teacher before its first step.
        """
        self.eval()

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """logit_scale ≤ ln 100 (CLIP, arXiv 2103.00020, section 2.5), or as loaded; SigLIP has no bound."""
        if not self.recipe.sigmoid:
            self.clip.logit_scale.clamp_(max=self.most_log_scale)

    def load_state(self, state: dict[str, torch.Tensor], source: str | Path) -> None:
        """Load the library's keys strictly. Raises CheckpointError naming what differs."""
        difference = describe_mismatch(self.clip.state_dict(), state, source)
        if difference:
            raise CheckpointError(difference)
        self.clip.load_state_dict(state)
        # Published scales lie a rounding of 16 bits above ln 100: a step of nothing must not change them
        self.most_log_scale = max(MAX_LOG_SCALE, float(self.clip.logit_scale.detach()))

    def public_parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.clip.named_parameters())

    def adapt(self, rank: int, alpha: float, seed: int) -> None:
        parameters, weights = self.public_parameters(), linear_weights(self.clip)
        scales = [parameter for parameter in self.scale_parameters() if parameter.requires_grad]
        layers = [layer for name, layer in weights.items() if parameters[name].requires_grad]
        self.requires_grad_(False)
        if layers:
            add_lora(self.clip, layers, rank, alpha, seed)
            self.adapted = True
            for parameter in scales:
                parameter.requires_grad_(True)

    def adapter_state(self) -> dict[str, torch.Tensor]:
        trained = {name: p.detach() for name, p in self.clip.named_parameters() if p.requires_grad}
        return trained if self.adapted else {}

    def checkpoint_state(self) -> dict[str, torch.Tensor]:
        return merged_state(self.clip) if self.adapted else self.clip.state_dict()
