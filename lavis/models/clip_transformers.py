"""CLIP-like models of transformers: CLIPModel, SiglipModel, AltCLIPModel, ChineseCLIPModel behind the same contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lavis.common.errors import ConfigError
from lavis.hub.places import TRANSFORMERS_CONFIG, place_of, resolve_weights
from lavis.hub.recipe import Recipe
from lavis.hub.tokenizers import TransformersTokens, carrying, check_vocabulary, size_of, token_counts
from lavis.hub.transformers_form import FULL_LENGTH, create, read_model, tokenizer_of
from lavis.hub.weights import read_weights
from lavis.models.two_towers import TwoTowers
from lavis.settings.schema import ModelConfig

TEXT = ("text_model", "text_projection")


class TransformersClip(TwoTowers):
    """transformers' model `clip`. Its checkpoints carry transformers' own keys.

    Captions are padded as its processor pads them. The attention mask follows from the token ids where the model was
    trained with one; a causal tower (CLIP's) does not need it, since it reads its end-of-text token.
    """

    def __init__(self, clip: Any, tokenizer: Any, recipe: Recipe) -> None:
        self.padding, kind = int(tokenizer.pad_token_id or 0), recipe.architecture["model_type"]
        longest = min(recipe.context_length or tokenizer.model_max_length, tokenizer.model_max_length)
        options = {"truncation": True, "max_length": longest, "return_tensors": "pt"}
        options["padding"] = "max_length" if kind in FULL_LENGTH else "longest"
        super().__init__(clip, recipe, TransformersTokens(tokenizer, options), self.padding)
        self.token_counts = lambda captions: token_counts(tokenizer, captions)
        self.kind = kind
        self.masked = self.kind != "clip" and "attention_mask" in tokenizer.model_input_names

    @classmethod
    def build(cls, config: ModelConfig, recipe: Recipe) -> TransformersClip:
        """transformers' model of a recipe, with random weights. Raises ConfigError."""
        if config.fast_towers == "true":
            raise ConfigError(
                f"model.fast_towers is true, but no rewritten path is proved for {recipe.name}: it is transformers'; "
                "try 'auto'"
            )
        clip, tokenizer = create(recipe), tokenizer_of(recipe)
        rows = recipe.architecture["text_config"]["vocab_size"]
        check_vocabulary(size_of(tokenizer), rows, recipe.name)
        if config.grad_checkpointing:
            clip.gradient_checkpointing_enable({"use_reentrant": False})
        model = cls(clip, tokenizer, carrying(recipe, tokenizer))
        model.check_ending()
        return model

    def initial_state(self) -> dict[str, torch.Tensor]:
        return create(self.recipe).state_dict()

    def check_ending(self) -> None:
        """Refuse a tokenizer that does not end captions with what CLIP's text tower reads. Raises ConfigError."""
        ending = self.recipe.architecture["text_config"].get("eos_token_id")
        if self.kind != "clip" or ending == 2:  # 2 in old files: the tower takes the highest id instead
            return
        if ending not in self.tokenize(["a"])[0].tolist():
            raise ConfigError(
                f"model: the tokenizer of {self.recipe.name} does not end captions with id {ending}, which the text "
                "tower reads (eos_token_id of config.json): they do not belong together"
            )

    def image_rows(self, images: torch.Tensor) -> torch.Tensor:
        return pooled(self.clip.get_image_features(pixel_values=self.normalise(images)))

    def text_rows(self, tokens: torch.Tensor) -> torch.Tensor:
        mask = (tokens != self.padding).long() if self.masked else None
        return pooled(self.clip.get_text_features(input_ids=tokens, attention_mask=mask))

    def text_parameters(self, tokens_only: bool = False) -> list[nn.Parameter]:
        """The text tower's and its projection's; of these the token embedding's alone."""
        if tokens_only:
            text = self.clip.text_model  # transformers 4 has no get_input_embeddings for CLIP's
            has = hasattr(text, "get_input_embeddings")
            return [(text.get_input_embeddings() if has else text.embeddings.token_embedding).weight]
        return [p for name, p in self.clip.named_parameters() if name.split(".")[0] in TEXT]

    def unlearning_mode(self) -> None:
        super().unlearning_mode()
        for part in self.clip.modules():
            if getattr(part, "gradient_checkpointing", False):
                part.training = True  # where it asks whether to recompute; its own parts stay as they are

    def load_weights(self, source: str | Path) -> None:
        place = place_of(str(source))
        if place is not None and place.file(TRANSFORMERS_CONFIG):
            state = read_model(place, self.recipe).state_dict()
        else:
            state = read_weights(resolve_weights(str(source), self.recipe.name))
        self.load_state(state, source)


def pooled(output: Any) -> torch.Tensor:
    """The rows of get_image_features and get_text_features, which transformers 5 wraps."""
    return getattr(output, "pooler_output", output)
