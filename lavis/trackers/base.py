"""The base class of trackers, which pass a run's numbers on to a tool such as TensorBoard while it trains.

A tracker is one file that registers a class:

    @registry.register_tracker("csv")
    class Csv(Tracker):
        def log(self, step: int, values: Mapping[str, float]) -> None:
            with (self.folder / "values.csv").open("a") as stream:
                stream.writelines(f"{step},{name},{value}\\n" for name, value in values.items())

`run.tracker=[csv]` then uses it. Whatever a method raises switches the tracker off with a warning; training goes on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from lavis.common.errors import ConfigError
from lavis.common.files import read_json, write_json

CONTENT = "the run's numbers and settings, without paths and without whom to forget"


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker learns about a run before the first step.

    name: says method, data set and seed. config: its settings (`lavis.settings.shareable`). done: optimiser steps that
    the run has taken, 0 unless it was resumed; later steps may have been logged already, by the process that stopped.
    past: the numbers of finished epochs by step, for a tool that a killed process may not have given them to.
    """

    name: str
    config: dict[str, Any]
    done: int = 0
    past: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


class Tracker:
    """One tool. It is created on the main process alone, and writes below `folder`, which exists.

    Class attributes: `package`, the module that it imports; `install`, what pip installs to have it.
    """

    package: ClassVar[str] = ""
    install: ClassVar[str] = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def check(cls, name: str) -> None:
        """Raise ConfigError if the tool's package is not installed."""
        if not cls.package:
            return
        spec = importlib.util.find_spec(cls.package)
        if spec is None or spec.origin is None:  # without origin it is a mere folder of that name, as wandb leaves one
            raise ConfigError(
                f"run.tracker: '{name}' needs the package {cls.package}: pip install {cls.install or cls.package}"
            )

    def start(self, run: TrackedRun) -> None:
        """Open the tool's run, or continue the one that this run folder had if `run.done` is not 0."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers, by name, after this many optimiser steps. Steps never decrease within a process."""
        raise NotImplementedError

    def finish(self, metrics: Mapping[str, float], complete: bool) -> None:
        """Close the tool's run. metrics: the final evaluation. complete: False if the run was stopped or failed."""

    def remember(self, **facts: Any) -> None:
        """Write facts for a resumed run next to `folder`, such as the tool's id of it.

        The fact `holder` says who may hold what outside the run folder; the deletion record quotes it.
        """
        write_json(facts_file(self.folder), facts)

    def recall(self) -> dict[str, Any]:
        """What was remembered; empty in a new run. Raises DataError for a damaged file."""
        path = facts_file(self.folder)
        return read_json(path, "tracker's facts") if path.is_file() else {}


def facts_file(folder: Path) -> Path:
    """Where a tracker with this folder writes what it remembers."""
    return folder.with_name(f"{folder.name}.json")
