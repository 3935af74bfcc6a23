"""The interface of backbones; code elsewhere does not depend on which backbone it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import get_worker_info

from lavis.common.features import Features, FusedFeatures, PairFeatures
from lavis.hub.recipe import Recipe
from lavis.settings.schema import ModelConfig

if TYPE_CHECKING:
    from lavis.towers.prefix import Cut

Inputs = dict[str, Any]
Tokenize = Callable[[list[str]], torch.Tensor]  # captions to ids (B, L)
MOST_KNOWN = 2**17  # captions whose tokens a loader's worker remembers, at some 700 bytes each


@dataclass(frozen=True)
class TrainingStep:
    """How far training is: the epoch and the optimiser step in it, both from 0, and the number of steps per epoch."""

    epoch: int = 0
    step: int = 0
    steps_per_epoch: int = 1


class BaseModel(nn.Module):
    """A backbone with the head of its task, as trainers and evaluation use it.

    `Inputs` are one set's micro-batch: a dict of tensors (rows first) and lists. Subclasses set the buffers
    `image_mean` and `image_std` ((3, 1, 1), not persistent), `recipe`, the class attributes and the methods below.
    `checkpoint_state` and `load_weights` use the backbone's public key names.
    """

    config_class: ClassVar[type[ModelConfig]] = ModelConfig
    family: ClassVar[str]  # the name of --backbone and of output folders
    features: ClassVar[type[PairFeatures] | type[FusedFeatures]] = PairFeatures  # what `represent` returns
    text_inputs: ClassVar[tuple[str, ...]] = ("tokens", "mask")  # the keys of `Inputs` with the text
    spares: ClassVar[bool] = False  # whether a loss may leave parameters without gradient, as S does fusion layers
    shards: ClassVar[bool] = False  # whether run.parallel=fsdp works
    adapts: ClassVar[bool] = False  # whether run.lora works
    cuts: dict[str, Cut]  # by "image" and "text": the towers whose lower part is stored for the run
    text_lengths: tuple[int, ...] = ()  # rising; captions are padded to one of these, where it is long enough
    recipe: Recipe
    image_mean: torch.Tensor
    image_std: torch.Tensor

    @classmethod
    def recipe_of(cls, config: ModelConfig, weights: str | None = None) -> Recipe:
        """How the configured model is built and fed; `weights`: what will be loaded, if not `weights_source`.

        Raises ConfigError where the configuration contradicts the weights, MissingFile, CheckpointError.
        """
        raise NotImplementedError

    @classmethod
    def weights_source(cls, config: ModelConfig) -> str | None:
        """The weights that the configuration names."""
        return config.pretrained

    @classmethod
    def from_config(
        cls, config: ModelConfig, *, recipe: Recipe | None = None, load_pretrained: bool = True
    ) -> BaseModel:
        """Build from the `model:` section; `load_pretrained=False` keeps the initial weights.

        recipe: what `recipe_of` gave, in order not to read it again.
        """
        raise NotImplementedError

    def prepare(self, rows: dict[str, Any]) -> Inputs:
        """A data set's batch (images uint8 (B, …, 3, S, S), captions, …) plus the text as tensors, on the CPU."""
        raise NotImplementedError

    def caption_tokens(self) -> Tokenize | None:
        """What `prepare` adds as "tokens", for a loader's worker: made without the model, and it can be pickled.

        None: `prepare` needs the model, or adds more.
        """
        return None

    def represent(self, inputs: Inputs) -> Features:
        """What unlearning compares, of class `features`; normalised if that class is."""
        raise NotImplementedError

    def objective(self, inputs: Inputs, progress: TrainingStep) -> dict[str, torch.Tensor]:
        """The named terms of the original training objective, scalars; training minimised their sum.

        `inputs["caption_groups"]` (B,), if given, has equal numbers for equal captions, for objectives with in-batch
        negatives. Momentum copies and queues are updated here.
        """
        raise NotImplementedError

    def pair_objective(self, pairs: PairFeatures, groups: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """`objective` of pairs that are already embedded (PairFeatures only); `groups` are its caption_groups."""
        raise NotImplementedError

    def permute_text(self, inputs: Inputs, order: torch.Tensor) -> Inputs:
        """The same images with each other's captions: row i gets the caption of row order[i]."""
        return {key: value[order] if key in self.text_inputs else value for key, value in inputs.items()}

    def tokenize(self, captions: list[str]) -> torch.Tensor:
        """Token ids (B, L), int64, on the CPU; shorter rows end in the padding id."""
        raise NotImplementedError

    def token_counts(self, captions: list[str]) -> list[int]:
        """Tokens of each caption, start and end included, before any is cut off (models with a context length)."""
        raise NotImplementedError

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 pixels (B, 3, S, S) to embeddings (B, D), not necessarily normalised (backbones with towers only)."""
        raise NotImplementedError

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids (B, L) to embeddings (B, D), not necessarily normalised (backbones with towers only)."""
        raise NotImplementedError

    @property
    def scale(self) -> torch.Tensor:
        """The multiplier of cosines in the contrastive loss, scalar (backbones with towers only)."""
        raise NotImplementedError

    @property
    def bias(self) -> torch.Tensor | None:
        """What is added to scaled cosines in the sigmoid loss, scalar; None: the model is trained with softmax."""
        return None

    def scale_parameters(self) -> list[nn.Parameter]:
        """The temperature, if there is one; methods that do not learn it freeze it."""
        return []

    def text_parameters(self, tokens_only: bool = False) -> list[nn.Parameter]:
        """The weights of the text tower or of its token embedding; none if the backbone has no separate text tower."""
        return []

    def unlearning_mode(self) -> None:
        """Set the mode of its modules for unlearning; training's by default: ALBEF and BLIP drop out, as published."""
        self.train()

    def clamp_scale(self) -> None:
        """Keep the temperature within its published bound, after an optimiser step."""

    def forward(self, inputs: Inputs) -> Features:
        return self.represent(inputs)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 pixels to the floats that the tower was trained on: (x/255 − mean) / std."""
        return (images.to(self.image_mean.dtype) / 255 - self.image_mean) / self.image_std

    def public_parameters(self) -> dict[str, nn.Parameter]:
        """Parameters by the names that `run.trainable` and checkpoints use."""
        return dict(self.named_parameters())

    def image_of(self, inputs: Inputs) -> torch.Tensor:
        """Embeddings (B, D) of a batch's images (backbones with towers only)."""
        raise NotImplementedError

    def tower_cuts(self) -> dict[str, Cut]:
        """By "image" and "text": the towers of which something lies below the first trained layer."""
        return {}

    def adapt(self, rank: int, alpha: float, seed: int) -> None:
        """Put LoRA's factors on the linear layers whose weights are trainable, and freeze these (if `adapts`)."""
        raise NotImplementedError

    def adapter_state(self) -> dict[str, torch.Tensor]:
        """What is trained after `adapt`, for going on from a checkpoint; empty before."""
        return {}

    def facts(self) -> dict[str, str]:
        """Digests of what the weights' training follows from, besides the weights themselves and the data."""
        return {"architecture": self.recipe.digest()}

    def checkpoint_state(self) -> dict[str, torch.Tensor]:
        """Weights under the backbone's public names."""
        return self.state_dict()

    def initial_state(self) -> dict[str, torch.Tensor]:
        """Weights as an untrained model has them, drawn from torch's generator, by the names of `public_parameters`."""
        raise NotImplementedError

    def load_initial(self, config: ModelConfig) -> None:
        """Load the weights that original training starts from if they are not random (those of a pretraining stage)."""

    def load_weights(self, source: str | Path) -> None:
        """Load strictly from a file, folder or hub name. Raises CheckpointError naming the differences."""
        raise NotImplementedError


class CaptionTokens:
    """Token ids of captions, padded with `padding`; each distinct caption is tokenised once, by itself.

    `lengths`, rising: rows are padded on to one of them. A copy (of a model, for a worker) begins with nothing known.
    """

    def __init__(self, tokenize: Tokenize, padding: int = 0) -> None:
        self.tokenize, self.padding = tokenize, padding
        self.lengths: tuple[int, ...] = ()
        self._known: dict[str, torch.Tensor] = {}

    def __call__(self, captions: list[str]) -> torch.Tensor:
        """(B, longest), int64."""
        return lengthened(fill_up([self._ids(caption) for caption in captions], self.padding), self.lengths)

    def _ids(self, caption: str) -> torch.Tensor:
        ids = self._known.get(caption)
        if ids is None:
            ids = self.tokenize([caption])[0]
            if len(self._known) < MOST_KNOWN or get_worker_info() is None:  # every worker sees every caption at last
                self._known[caption] = ids
        return ids

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": {}}


def fill_up(rows: list[torch.Tensor], padding: int = 0) -> torch.Tensor:
    """Rows of ids (L_i,) as one padded tensor (B, max L_i), int64."""
    return torch.nn.utils.rnn.pad_sequence([row.long() for row in rows], batch_first=True, padding_value=padding)


def lengthened(ids: torch.Tensor, lengths: tuple[int, ...]) -> torch.Tensor:
    """Ids (B, L) padded with zeros to the first of these lengths that is at least L; unchanged if none is."""
    longest = ids.shape[1]
    return F.pad(ids, (0, next((length for length in lengths if length >= longest), longest) - longest))


def join(parts: list[Inputs]) -> Inputs:
    """Several sets as one batch, rows in sequence; shorter token ids, masks and states are padded with zeros."""
    if len(parts) == 1:
        return parts[0]
    shared = [key for key in parts[0] if all(key in part for part in parts)]
    return {key: _stacked([part[key] for part in parts]) for key in shared}


def _stacked(values: list[Any]) -> Any:
    if not isinstance(values[0], torch.Tensor):
        return [item for value in values for item in value]
    if values[0].ndim in (2, 3):
        longest = max(value.shape[1] for value in values)
        others = (0, 0) * (values[0].ndim - 2)
        values = [F.pad(value, (*others, 0, longest - value.shape[1])) for value in values]
    return torch.cat(values)
