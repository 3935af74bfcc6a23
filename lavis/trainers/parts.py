"""Training less than the whole model: parameters by pattern (run.trainable), low-rank factors on them (run.lora).

Also where run.select and run.anchor, which start from the original's weights, cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch

from lavis.common.errors import ConfigError, suggest
from lavis.common.logger import get_logger
from lavis.models.base import BaseModel
from lavis.settings.parts_schema import EVERYTHING
from lavis.settings.schema import RunConfig


def check_parts(run: RunConfig, model: type[BaseModel] | None, *, fresh: bool, once: bool) -> None:
    """Refuse run.lora and run.interpolate where they cannot be. Raises ConfigError.

    fresh: the method starts from no original model. once: it changes weights without training.
    """
    if fresh and run.interpolate is not None:
        raise ConfigError("run.interpolate mixes with the original's weights, from which this job does not start")
    if run.interpolate == -1 and model is not None and not model.features.paired_towers:
        raise ConfigError(
            "run.interpolate=-1 compares embeddings, which this backbone does not have; name a share, 0 to 1"
        )
    if not run.lora.rank:
        return
    if model is not None and not model.adapts:
        raise ConfigError(f"run.lora is for models of two towers, not for backbone '{model.family}'; set rank to null")
    if run.parallel == "fsdp" or once:
        what = "run.parallel=fsdp" if run.parallel == "fsdp" else "a method that is not trained"
        raise ConfigError(f"run.lora does not go with {what}; set run.lora.rank to null")


def check_original(run: RunConfig, method: str, *, fresh: bool, once: bool, rewrites: str) -> None:
    """Refuse run.select and run.anchor where no weights of an original are trained on. Raises ConfigError.

    fresh, once: as above. rewrites: which weights the method itself replaces; "" for none.
    """
    section = "select" if run.select.rule != EVERYTHING else "anchor" if run.anchor.weights else ""
    reasons = {
        f"'{method}' starts from no original": fresh,
        f"'{method}' is one change of the weights, without training": once,
        f"'{method}' itself replaces weights of the original ({rewrites})": bool(rewrites),
        "run.lora trains factors and leaves the weights as they are (use run.trainable with it)": bool(run.lora.rank),
        "run.parallel=fsdp divides the weights among the processes (use ddp)": run.parallel == "fsdp",
    }
    for reason in [reason for reason, holds in reasons.items() if section and holds]:
        off = "run.select.rule=all" if section == "select" else "run.anchor.l2_sp=0 run.anchor.ewc=0"
        raise ConfigError(
            f"run.{section} is measured at the original's weights, and holds weights there, but {reason}; set {off}"
        )


def check_reached(loss: torch.Tensor, method: str) -> None:
    """Raise ConfigError where the loss of a method does not depend on anything that is trained."""
    if torch.is_grad_enabled() and not loss.requires_grad:
        raise ConfigError(
            f"the loss of '{method}' does not depend on any parameter that run.trainable or run.select leaves in "
            "training; name others in run.trainable"
        )


def limit(model: BaseModel, run: RunConfig) -> None:
    """Freeze what run.trainable does not name, of what the method trains; put run.lora on the rest.

    Raises ConfigError for a pattern that matches no parameter, and where nothing is left to train.
    """
    parameters = model.public_parameters()
    chosen = matching(list(parameters), run.trainable) if run.trainable else set(parameters)
    for name, parameter in parameters.items():
        parameter.requires_grad_(parameter.requires_grad and name in chosen)
    if run.lora.rank:
        model.adapt(run.lora.rank, run.lora.alpha, run.draw_seed)
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
