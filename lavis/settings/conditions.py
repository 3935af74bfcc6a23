"""Conditions on a run under which a setting affects weights that otherwise affects results, or nothing.

`run` is the plain `run` section, `key` the setting's full name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lavis.common.registry import registry

ORIGINAL = "original"  # the trainer of train.py


def trainer_of(run: Mapping[str, Any]) -> Any:
    """The trainer class of a plain `run` section. Raises ConfigError for an unknown method."""
    return registry.get_trainer_class(run.get("method") or ORIGINAL)


def read_by_method(run: Mapping[str, Any], key: str) -> bool:
    """True if the run's method reads this optional setting; False for a method that is not registered here."""
    known = (run.get("method") or ORIGINAL) in registry.names("trainer")
    return known and key.rsplit(".", 1)[-1] in trainer_of(run).reads


def chooses_epoch(run: Mapping[str, Any], key: str) -> bool:
    """True if scores on run.valid_splits choose the best epoch, because then it matters how they are computed."""
    return bool(run.get("valid_splits"))


def trained_or_chosen_on(run: Mapping[str, Any], key: str) -> bool:
    """True if the split in a key of `annotations` is trained on, or its scores choose the best epoch."""
    used = [*run.get("train_splits", []), *run.get("valid_splits", [])]
    return key.split(".")[-2] in used or bool(run.get("train_on_holdout"))
