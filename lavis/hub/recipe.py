"""A model's recipe: its architecture, and how an image and a caption become the input of its towers."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from lavis.common.errors import CheckpointError, ConfigError
from lavis.processors.image import OPEN_CLIP, TRANSFORMERS

log = logging.getLogger(__name__)
SHOWN = 3  # contradictions in one message
FUSED = "fused"  # ALBEF and BLIP, whose configuration states everything
NORMALISATION = ("mean", "std")


@dataclass(frozen=True)
class Pixels:
    """From a decoded image to a tower's input. None: the model does not say, any value will do."""

    image_size: int
    mean: tuple[float, ...] = OPENAI_DATASET_MEAN
    std: tuple[float, ...] = OPENAI_DATASET_STD
    interpolation: str | None = "bicubic"
    resize_mode: str | None = "shortest"
    fill_color: int | None = 0
    library: str | None = OPEN_CLIP

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"{self.image_size} px, {self.interpolation}, {self.resize_mode}, mean {mean}, std {std}"

    def state(self) -> dict[str, Any]:
        """Plain containers."""
        found = dataclasses.asdict(self)
        return found | {name: list(found[name]) for name in NORMALISATION}

    def arguments(self) -> dict[str, Any]:
        """What the processors have to do: their argument -> its value. Models normalise for themselves."""
        stated = dataclasses.asdict(self).items()
        return {name: value for name, value in stated if value is not None and name not in NORMALISATION}


@dataclass(frozen=True)
class Recipe:
    """How a model is built and fed.

    `form` is the library whose configuration `architecture` is: open_clip's model_cfg, or transformers' config.json.
    `tokenizer` is "" for CLIP's own, otherwise a hub name or a folder; `tokenizer_files` (name -> uint8) replace it
    where a checkpoint carries them. `sigmoid`: the model has a logit bias and is trained with the sigmoid loss.
    `source` says where this was read; `overridden`, which of the source's values model.override_recipe replaced.
    """

    name: str
    form: str
    architecture: dict[str, Any]
    pixels: Pixels
    context_length: int | None = None
    tokenizer: str = ""
    sigmoid: bool = False
    source: str = field(default="", repr=False, compare=False)
    overridden: tuple[str, ...] = field(default=(), repr=False, compare=False)
    tokenizer_files: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        """One line for the log."""
        words = [str(self.pixels), f"{self.context_length} tokens of {self.tokenizer or 'the CLIP tokenizer'}"]
        words += ["QuickGELU"] * self.quick_gelu + ["sigmoid loss" if self.sigmoid else "softmax loss"]
        return f"{self.name} ({self.form}): {', '.join(words)}; from {self.source}"

    @property
    def quick_gelu(self) -> bool:
        """Whether any tower's activation is QuickGELU."""
        if self.form == TRANSFORMERS:
            parts = [self.architecture.get(f"{tower}_config", {}) for tower in ("text", "vision")]
            return any(part.get("hidden_act") == "quick_gelu" for part in parts)
        return bool(self.architecture.get("quick_gelu"))

    def state(self) -> dict[str, Any]:
        """Plain containers and tensors, for a checkpoint."""
        content = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return content | {"pixels": self.pixels.state(), "overridden": list(self.overridden)}

    def digest(self) -> str:
        """A hash of all that the weights follow from: architecture, images' preparation, tokenizer and its files."""
        digest = hashlib.blake2b(repr(self).encode("utf-8", "surrogatepass"), digest_size=16)
        for name, content in sorted(self.tokenizer_files.items()):
            digest.update(name.encode() + content.numpy().tobytes())
        return digest.hexdigest()

    @classmethod
    def from_state(cls, state: Any, path: str | Path) -> Recipe:
        """The recipe in a checkpoint. Raises CheckpointError where it is of another version or damaged."""
        try:
            pixels: dict[str, Any] = {
                name: tuple(v) if name in NORMALISATION else v for name, v in state["pixels"].items()
            }
            content: dict[str, Any] = {**state, "pixels": Pixels(**pixels), "overridden": tuple(state["overridden"])}
            if not isinstance(content["architecture"], dict):
                raise TypeError("its architecture is not a mapping")
            return cls(**content)
        except (TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(f"checkpoint {path} has a recipe that cannot be read ({error})") from error


def refuse_or_warn(conflicts: Sequence[str], override: bool) -> None:
    """Raise ConfigError where a configuration contradicts the model's recipe; with `override`, log a warning."""
    if not conflicts:
        return
    if override:
        log.warning("model.override_recipe: %s", "; ".join(conflicts))
        return
    more = f"; and {len(conflicts) - SHOWN} more" if len(conflicts) > SHOWN else ""
    raise ConfigError(
        f"the configuration contradicts the model's own: {'; '.join(conflicts[:SHOWN])}{more}. To follow the model, "
        "remove these settings (an empty model.model_type means: what the weights say); to keep them, set "
        "model.override_recipe=true"
    )


def differences(one: Any, other: Any, ignored: frozenset[str] = frozenset(), prefix: str = "") -> dict[str, tuple]:
    """Where two plain configurations differ: dotted key -> (value of one, of the other); None where one has none."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return {} if one == other else {prefix: (one, other)}
    found: dict[str, tuple] = {}
    for key in sorted((one.keys() | other.keys()) - ignored):
        found |= differences(one.get(key), other.get(key), ignored, f"{prefix}.{key}" if prefix else key)
    return found
