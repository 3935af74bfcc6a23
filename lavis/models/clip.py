"""CLIP: a thin wrapper over open_clip, every architecture of it by name, others by a JSON file or with their weights.

Models in transformers' form are wrapped by lavis/models/clip_transformers.py.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lavis.common.registry import registry
from lavis.hub.open_clip_form import create, tokenizer_of
from lavis.hub.places import resolve_weights
from lavis.hub.reading import recipe_of, weights_source
from lavis.hub.recipe import TRANSFORMERS, Recipe
from lavis.hub.tokenizers import OpenClipTokens, carrying, check_vocabulary, size_of, token_counts
from lavis.hub.weights import embedding_of, fitted, read_weights
from lavis.models.clip_transformers import TransformersClip
from lavis.models.two_towers import TwoTowers
from lavis.settings.schema import ModelConfig
from lavis.towers.fast import SHORT_CAPTIONS, encode_short, use_fast_paths
from lavis.towers.prefix import Cut, cut_image, cut_text

log = logging.getLogger(__name__)


@registry.register_model("clip")
class ClipModel(TwoTowers):
    """open_clip's model `clip` behind the project's contract. Its checkpoints carry open_clip's own keys."""

    def __init__(self, clip: Any, tokenizer: Any, recipe: Recipe, *, short_captions: bool = False) -> None:
        super().__init__(clip, recipe, OpenClipTokens(tokenizer, short_captions))
        self.short_captions = short_captions
        self.token_counts = lambda captions: token_counts(tokenizer, captions)

    @classmethod
    def recipe_of(cls, config: ModelConfig, weights: str | None = None) -> Recipe:
        return recipe_of(config, weights)

    @classmethod
    def weights_source(cls, config: ModelConfig) -> str | None:
        return weights_source(config)

    @classmethod
    def from_config(
        cls, config: ModelConfig, *, recipe: Recipe | None = None, load_pretrained: bool = True
    ) -> TwoTowers:
        """Build the recipe (that of `config` by default); its weights are loaded strictly unless told not to."""
        recipe = recipe or recipe_of(config)
        build = TransformersClip.build if recipe.form == TRANSFORMERS else cls.build
        model, source = build(config, recipe), weights_source(config)
        if load_pretrained and source:
            model.load_weights(source)
        return model

    @classmethod
    def build(cls, config: ModelConfig, recipe: Recipe) -> ClipModel:
        """open_clip's model of a recipe, with initial weights. Raises ConfigError."""
        clip, tokenizer = create(recipe, config.args), tokenizer_of(recipe)
        check_vocabulary(size_of(tokenizer), embedding_of(clip).num_embeddings, recipe.name)
        image, text = use_fast_paths(clip, config.fast_towers, recipe.name)
        log.info("Faster code, same values, for %s: image tower: %s; text tower: %s", recipe.name, image, text)
        if config.grad_checkpointing:
            clip.set_grad_checkpointing(True)
        return cls(clip, tokenizer, carrying(recipe, tokenizer), short_captions=SHORT_CAPTIONS in text.paths)

    def image_rows(self, images: torch.Tensor) -> torch.Tensor:
        return self.clip.encode_image(self.normalise(images))

    def text_rows(self, tokens: torch.Tensor) -> torch.Tensor:
        return encode_short(self.clip, tokens) if self.short_captions else self.clip.encode_text(tokens)

    def image_cut(self) -> Cut | None:
        return cut_image(self.clip.visual, self.normalise)

    def text_cut(self) -> Cut | None:
        return cut_text(self.clip)

    def text_parameters(self, tokens_only: bool = False) -> list[nn.Parameter]:
        """All but the image tower's and the temperature; of these the token embedding's alone."""
        if tokens_only:
            return [embedding_of(self.clip).weight]
        outside = {id(p) for p in [*self.clip.visual.parameters(), *self.scale_parameters()]}
        return [p for p in self.clip.parameters() if id(p) not in outside]

    def initial_state(self) -> dict[str, torch.Tensor]:
        return create(self.recipe, {}).state_dict()

    def load_weights(self, source: str | Path) -> None:
        path = resolve_weights(str(source), self.recipe.name)
        self.load_state(fitted(self.clip, read_weights(path), path), path)
