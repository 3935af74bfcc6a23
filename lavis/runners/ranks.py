"""The processes of a run compare what they are about to compute with, before they compute anything."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lavis.common import distributed
from lavis.common.checkpoint import weights_digest
from lavis.common.errors import ConfigError, SharedFault
from lavis.models.base import BaseModel
from lavis.runners import fsdp
from lavis.runners.feed import Feed
from lavis.runners.run_dir import git_commit
from lavis.settings.changes import changes
from lavis.settings.declaration import RESULTS
from lavis.trainers.base import BaseTrainer

SHOWN = 3


def versions() -> dict[str, str]:
    """What computes: Python, torch, and the project's commit."""
    commit = str(git_commit())
    return {"version of Python": platform.python_version(), "version of torch": torch.__version__, "commit": commit}


def agree_on_settings(config: Mapping[str, Any]) -> None:
    """Raise an error on every process unless all have the same versions, and settings that affect the same results.

    config: the whole configuration as plain containers.
    """
    if distributed.world_size() == 1:
        return
    everyone = distributed.gather_objects((dict(config), versions()))
    first, known = everyone[0]
    problems = []
    for rank, (other, found) in enumerate(everyone):
        settings = changes(first, other, RESULTS)
        problems += [f"rank {rank} has {c.key} {c.now!r}, rank 0 has {c.then!r}" for c in settings]
        problems += _unlike(rank, known, found)
    _stop(problems)


def agree_on_training(trainer: BaseTrainer, feed: Feed) -> None:
    """Raise an error on every process unless all would train the same weights on the same rows and images."""
    if distributed.world_size() > 1:
        _agree({**feed.rows, **starting_facts(trainer, feed)})


def starting_facts(trainer: BaseTrainer, feed: Feed) -> dict[str, Any]:
    """What the trained weights follow from, as digests: weights at the start, architecture, rows, images, other files.

    All processes must call it.
    """
    weights = weights_digest(fsdp.whole(trainer.model.checkpoint_state()))
    return {"starting weights": weights, **trainer.model.facts(), **feed.facts, **trainer.sources}


def agree_on_evaluation(model: BaseModel, splits: Mapping[str, Sequence[Any]], data: Mapping[str, Any]) -> None:
    """Raise an error on every process unless all would evaluate the same weights on the same rows and images.

    data: the digests of the splits' rows and images, as in results.json.
    """
    if distributed.world_size() > 1:
        facts: dict[str, Any] = {f"number of rows of {split}": len(entries) for split, entries in splits.items()}
        for part, words in (("splits", "rows"), ("images", "images")):
            facts |= {f"{words} of {split}": digest for split, digest in data[part].items()}
        _agree({**facts, "evaluated weights": weights_digest(model.checkpoint_state()), **model.facts()})


def _agree(facts: Mapping[str, Any]) -> None:
    """Raise an error on every process unless all have the same facts."""
    everyone = distributed.gather_objects(dict(facts))
    _stop([problem for rank, found in enumerate(everyone) for problem in _unlike(rank, everyone[0], found)])


def _unlike(rank: int, first: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    names = dict.fromkeys([*first, *found])
    return [
        f"rank {rank} differs from rank 0 in {name} ({found.get(name)}, not {first.get(name)})"
        for name in names
        if found.get(name) != first.get(name)
    ]


def _stop(problems: list[str]) -> None:
    """Raise ConfigError on rank 0, which reports it, and SharedFault on the others."""
    if not problems:
        return
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    message = (
        f"the processes of this run do not agree: {'; '.join(problems[:SHOWN])}{more}. Give all of them the same "
        "files, settings and versions, then run the same command again"
    )
    raise ConfigError(message) if distributed.is_main() else SharedFault(message)
