"""What all fused encoders share: inputs, loading under the public names, position tables, tied weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import ClassVar, TypeVar

import torch
from torch import nn
from typing_extensions import Self

from lavis.common.checkpoint import describe_mismatch, load_file, weights_of
from lavis.common.errors import CheckpointError, DataError, MissingFile
from lavis.common.features import FusedFeatures, FusedPairFeatures
from lavis.hub.recipe import FUSED, Pixels, Recipe
from lavis.hub.weights import refuse_far_positions, report_resampling
from lavis.images.fingerprint import content_digest
from lavis.models.base import BaseModel, Inputs
from lavis.models.fused.config import FusedConfig
from lavis.models.fused.text import TextEncoder
from lavis.models.fused.tokens import Tokenizer, Tokens
from lavis.models.fused.vision import build_vision, resize_positions
from lavis.settings.schema import ModelConfig

log = logging.getLogger(__name__)
C = TypeVar("C", bound=FusedConfig)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

SILENT = (None, None, None, None)  # interpolation, resize_mode, fill_color, library: any will do


class FusedModel(BaseModel):
    """An image encoder and a text tower with cross-attention.

    Subclasses set `family`, build further parts under the public names, and write `build_text` and `objective`. `fresh`
    names the parts, at any depth of the keys, that pretraining lacks.
    """

    config_class: ClassVar[type[FusedConfig]] = FusedConfig
    features: ClassVar[type[FusedFeatures] | type[FusedPairFeatures]] = FusedFeatures
    spares = True
    extra_tokens: ClassVar[tuple[str, ...]] = ()
    fresh: ClassVar[frozenset[str]] = frozenset({"cls_head"})
    visual_encoder: nn.Module
    text_encoder: TextEncoder

    def __init__(self, config: FusedConfig) -> None:
        super().__init__()
        self.config, self.recipe = config, self.recipe_of(config)
        self.tokenizer = Tokenizer(config.tokenizer, config.vocab_size, self.extra_tokens)
        self.visual_encoder = build_vision(config)
        self.register_buffer("image_mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("image_std", torch.tensor(STD).view(3, 1, 1), persistent=False)
        self.text_encoder = self.build_text()

    def facts(self) -> dict[str, str]:
        return {**super().facts(), "vocabulary": content_digest(self.tokenizer.pieces.get_vocab())}

    @classmethod
    def recipe_of(cls, config: ModelConfig, weights: str | None = None) -> Recipe:
        """The configured sizes: public weights of ALBEF and BLIP say nothing about themselves."""
        assert config.image_size is not None, "FusedConfig has checked it"
        return Recipe(config.arch, FUSED, {}, Pixels(config.image_size, MEAN, STD, *SILENT), source="model.image_size")

    @classmethod
    def from_config(cls, config: ModelConfig, *, recipe: Recipe | None = None, load_pretrained: bool = True) -> Self:
        """Build the configured sizes; if `load_pretrained`, load `config.pretrained`, else `config.pretraining`."""
        assert isinstance(config, FusedConfig)
        model = cls(config)
        if load_pretrained and config.pretrained:
            model.load_weights(config.pretrained)
        elif load_pretrained:
            model.load_initial(config)
        return model

    def config_as(self, kind: type[C]) -> C:
        """The configuration, typed as the class with the settings that a part of the model reads."""
        assert isinstance(self.config, kind)
        return self.config

    def build_text(self) -> TextEncoder:
        """The text tower, with the architecture's cross-attention."""
        raise NotImplementedError

    def represent(self, inputs: Inputs) -> FusedFeatures | FusedPairFeatures:
        """Image states (B, N, H), or (B, 2, N, H) of two images, and the fused [CLS] (B, H)."""
        states = self.image_states(inputs["images"])
        return FusedFeatures(states, self.text_encoder(inputs["tokens"], inputs["mask"], states)[:, 0])

    def load_initial(self, config: ModelConfig) -> None:
        """Load the weights of the pretraining stage if `config.pretraining` names them."""
        assert isinstance(config, FusedConfig)
        if config.pretraining:
            self.load_pretraining(config.pretraining)

    def prepare(self, rows: Inputs) -> Inputs:
        """The rows plus "tokens" (B, L) and "mask" (B, L) of their captions. Raises DataError for empty captions."""
        empty = [row for row, text in enumerate(rows["captions"]) if not text.strip()]
        if empty:
            number = int(rows["index"][empty[0]]) if "index" in rows else empty[0]
            raise DataError(f"row {number} has an empty text; each image needs a caption, question or statement")
        found = self.encode_texts(rows["captions"])
        return {**rows, "tokens": found.ids, "mask": found.mask}

    def encode_texts(self, texts: list[str], max_length: int | None = None) -> Tokens:
        """Token ids and mask, truncated to `max_length` (default model.max_txt_len) tokens."""
        return self.tokenizer(texts, max_length or self.config.max_txt_len)

    def image_states(self, images: torch.Tensor, encoder: nn.Module | None = None) -> torch.Tensor:
        """uint8 pixels (B, …, 3, S, S) to states (B, …, N, H), [CLS] first, of an encoder (default: visual_encoder)."""
        states = (self.visual_encoder if encoder is None else encoder)(self.normalise(images.flatten(0, -4)))
        return states.unflatten(0, images.shape[:-3])

    def load_weights(self, source: str | Path) -> None:
        """Load a LAVIS file or one of this project's, strictly; position tables are resized.

        Raises MissingFile, and CheckpointError naming missing, unexpected and differing keys.
        """
        state = self.read_state(source)
        own = self.state_dict()
        difference = describe_mismatch(own, state, source)
        if difference:
            hint = self._hint(own.keys() - state.keys())
            raise CheckpointError(f"{difference}. The model is {self.config.arch}: {hint}")
        torn = [
            names for names in self.tie_groups() if any(not torch.equal(state[names[0]], state[n]) for n in names[1:])
        ]
        if torn:
            raise CheckpointError(
                f"checkpoint {source}: {' and '.join(torn[0])} are one tensor, but differ in the file"
            )
        self.load_state_dict(state)

    def _hint(self, missing: set[str]) -> str:
        """What to do about a file that does not fit."""
        if missing and all(name.split(".")[0].endswith("_m") for name in missing):
            return "the file lacks the momentum copies; model.pretraining loads it and recreates them"
        return "is the file one of it, at these sizes?"

    def load_pretraining(self, source: str | Path) -> None:
        """Start from weights of the pretraining stage, or of training without the momentum copies.

        Parts named in `fresh` that the file lacks, or has in another shape, keep their own weights. Raises
        MissingFile, and CheckpointError when another part is missing from the file or has another shape.
        """
        state = self.from_pretraining(self.read_state(source))
        own = self.state_dict()
        needed = {name: value for name, value in own.items() if self.fresh.isdisjoint(name.split("."))}
        given = {name: state[name] for name in own if name in state}
        fitting = {name: value for name, value in given.items() if name in needed or value.shape == own[name].shape}
        difference = describe_mismatch(needed, {name: given[name] for name in needed if name in given}, source)
        if difference:
            raise CheckpointError(
                f"{difference}. model.pretraining of {self.config.arch} takes {self.family}'s pretraining weights"
            )
        fresh = sorted({name.split(".")[0] for name in own.keys() - fitting.keys()})
        if fresh:
            log.info("%s lacks parts of %s; these start fresh", source, ", ".join(fresh))
        self.load_state_dict(fitting, strict=False)

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The pretraining stage's weights under this model's names."""
        return state

    def read_state(self, source: str | Path) -> dict[str, torch.Tensor]:
        """A file's state dict with position tables resized to this model's images, which one line of the log says.

        Raises CheckpointError for a table of quite another length.
        """
        path = _downloaded(str(source)) if str(source).startswith(("http://", "https://")) else source
        state = weights_of(load_file(path), path)
        own = {name: table for name, table in self.state_dict().items() if name.rsplit(".", 1)[-1] == "pos_embed"}
        given = {name: state[name] for name in own if name in state and state[name].ndim == own[name].ndim}
        for name, table in given.items():
            refuse_far_positions(name, table.shape[1], own[name].shape[1], path)
            state[name] = resize_positions(table, own[name].shape[1])
        resized = [name for name, table in given.items() if state[name].shape != table.shape]
        if resized:
            first = resized[0]
            report_resampling(resized, given[first].shape[1], own[first].shape[1], path)
        return state

    def tie_groups(self) -> list[list[str]]:
        """Groups of the state dict's names that are one parameter, sorted."""
        groups: dict[int, list[str]] = {}
        for name, parameter in self.named_parameters(remove_duplicate=False):
            groups.setdefault(id(parameter), []).append(name)
        return sorted(sorted(names) for names in groups.values() if len(names) > 1)


def _downloaded(address: str) -> Path:
    """The file of an address in torch's download folder. Raises MissingFile."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / address.rsplit("/", 1)[-1]
    if not path.is_file():
        raise MissingFile(
            f"{address} is an address, and {path} does not exist: download it there "
            f"(curl -L --create-dirs -o {path} {address}), or give the path of a file"
        )
    return path
