"""The four seeds of a result: data, training, unlearning, evaluation, each with a key of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lavis.common.errors import DataError, MissingFile
from lavis.common.results import FILE_NAME, read_results
from lavis.datasets.own import PairsConfig
from lavis.settings.config import Config
from lavis.tasks.checkpoints import checkpoint_origin

UNKNOWN = {"training": None, "unlearning": None}


def seeds_of(config: Config, start: str | None) -> dict[str, Any]:
    """The `seeds` of results.json; null where there was no such step, or where nobody wrote the seed down.

    start: the weights that the run started from, or that it evaluates; None: it trained from scratch.
    """
    return {"data": _data(config), **_weights(config, start), "evaluation": _evaluation(config)}


def _data(config: Config) -> dict[str, int]:
    """Seeds of the forget list, of a drawn data set, and of the split of one's own table."""
    data = config.dataset
    found = {"forget_list": config.run.df_seed}
    found |= {"drawn": data.generate_seed} if data.generate else {}
    return found | ({"split": data.split_seed} if isinstance(data, PairsConfig) and data.fractions else {})


def _weights(config: Config, start: str | None) -> dict[str, int | None]:
    run = config.run
    if run.checkpoint:
        return _recorded(run.checkpoint)
    if run.method is None:
        return {"training": run.seed, "unlearning": None}
    return {**(_recorded(start) if start else UNKNOWN), "unlearning": run.draw_seed}


def _recorded(checkpoint: str) -> dict[str, int | None]:
    """The seeds behind a checkpoint: those in the results next to it, else those of the run that wrote it."""
    try:
        nearby = read_results(Path(checkpoint).parent / FILE_NAME).get("seeds")
    except (DataError, MissingFile, OSError):
        nearby = None
    if isinstance(nearby, dict):
        return {name: nearby.get(name) for name in UNKNOWN}
    origin = checkpoint_origin(checkpoint)
    if origin.get("method") is None:
        return {**UNKNOWN, "training": origin.get("seed")}
    own = origin.get("unlearn_seed")
    return {**UNKNOWN, "unlearning": origin.get("seed") if own is None else own}


def _evaluation(config: Config) -> int | dict[str, int]:
    """One seed, or one for each section if they differ."""
    run = config.run
    found = {"salmubench": run.salmubench.seed, "relearn": run.relearn.seed, "audit": run.audit.seed}
    return found if len(set(found.values())) > 1 else run.audit.seed
