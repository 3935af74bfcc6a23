"""Less than the whole model is trained: parameters by pattern (run.trainable), or low-rank factors on them (run.lora)."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from lavis.common.errors import ConfigError, suggest
from lavis.common.logger import get_logger
from lavis.models.base import BaseModel
from lavis.settings.schema import RunConfig


def check_parts(run: RunConfig, model: type[BaseModel], runner: str) -> None:
    """Refuse run.lora where it cannot be. Raises ConfigError."""
    if not run.lora.rank:
        return
    if not model.adapts:
        raise ConfigError(f"run.lora is for models of two towers, not for backbone '{model.family}'; set rank to null")
    if run.parallel == "fsdp" or runner == "once":
        what = "run.parallel=fsdp" if run.parallel == "fsdp" else "a method that is not trained"
        raise ConfigError(f"run.lora does not go with {what}; set run.lora.rank to null")


def limit(model: BaseModel, run: RunConfig) -> None:
    """Freeze what run.trainable does not name, of what the method trains; put run.lora on the rest.

    Raises ConfigError for a pattern that matches no parameter, and where nothing is left to train.
    """
    parameters = model.public_parameters()
    chosen = matching(list(parameters), run.trainable) if run.trainable else set(parameters)
    for name, parameter in parameters.items():
        parameter.requires_grad_(parameter.requires_grad and name in chosen)
    if run.lora.rank:
        model.adapt(run.lora.rank, run.lora.alpha, run.seed)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ConfigError(
            f"run.trainable is {run.trainable}, and nothing is left to train: the method holds these parameters, or "
            "run.lora finds no linear layer among them"
        )
    if run.trainable or run.lora.rank:
        count, whole = (sum(p.numel() for p in part) for part in (trained, model.parameters()))
        get_logger().info("Trained: %d of %d numbers", count, whole)


def matching(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """The names that a pattern of the shell's kind matches. Raises ConfigError for a pattern without any."""
    found: set[str] = set()
    for pattern in patterns:
        own = {name for name in names if fnmatchcase(name, pattern)}
        if not own:
            raise ConfigError(
                f"run.trainable: no parameter of the model matches '{pattern}'; {suggest(pattern, names)}"
            )
        found |= own
    return found
