"""All trackers of a run as one, each in a folder of its own below `<run>/trackers/`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from lavis.common.errors import UserFault, one_line
from lavis.common.files import read_json
from lavis.common.logger import get_logger
from lavis.common.registry import registry
from lavis.settings.shareable import shareable_config
from lavis.trackers.base import TrackedRun, Tracker

FOLDER = "trackers"
CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@")  # of an address such as https://user:password@host


class Trackers:
    """The trackers of one run. A context: leaving it by an exception closes them as not complete.

    Args:
        folder: the run folder. names: of registered trackers; none on other processes than the main one.
    """

    def __init__(self, folder: Path = Path(), names: Sequence[str] = ()) -> None:
        self.folder = folder / FOLDER
        self._on = {name: registry.get_tracker_class(name)(self.folder / name) for name in names}

    def start(self, config: Mapping[str, Any], done: int, past: Mapping[int, Mapping[str, Any]] | None = None) -> None:
        """Start them with the run's plain configuration; on the main process alone.

        done: optimiser steps that a resumed run has taken. past: its records of finished epochs by step.
        A run that starts over deletes what its trackers had written, as it does with its log.
        """
        if not done:
            shutil.rmtree(self.folder, ignore_errors=True)
        epochs = {step: _numbers(values) for step, values in (past or {}).items()}
        run = TrackedRun(_name(config), shareable_config(config), done, epochs)
        self._each(lambda tracker: tracker.folder.mkdir(parents=True, exist_ok=True))
        self._each(lambda tracker: tracker.start(run))

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Pass on the numbers among `values` after this many optimiser steps."""
        numbers = _numbers(values)
        self._each(lambda tracker: tracker.log(step, numbers))

    def finish(self, metrics: Mapping[str, Any], complete: bool = True) -> None:
        """Close them all, with the metrics of the final evaluation; later calls do nothing."""
        numbers = _numbers(metrics)
        self._each(lambda tracker: tracker.finish(numbers, complete))
        self._on.clear()

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish({}, complete=False)

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._on.items()):
            try:
                act(tracker)
            except Exception as error:  # of whatever kind a tool raises: no result depends on it
                del self._on[name]
                problem = f"{type(error).__name__}: {CREDENTIALS.sub('', one_line(error))}"
                get_logger().warning("tracker %s is switched off (%s); the run goes on without it", name, problem)


def holders(folder: Path) -> list[str]:
    """Who else may hold what of a run, one sentence per tracker outside its run folder, as the trackers wrote it."""
    found = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            found.append(read_json(path, "tracker's facts").get("holder"))
        except (UserFault, AttributeError):
            found.append(f"{path.stem}: {path.name} cannot be read, so it is not known where its numbers are")
    return [holder for holder in found if holder]


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    numbers = ((name, value) for name, value in values.items() if isinstance(value, int | float))
    return {name: value for name, value in numbers if not isinstance(value, bool)}


def _name(config: Mapping[str, Any]) -> str:
    """What a tool calls the run. The run folder's name is not in it: somebody may have called that after a person."""
    run = config["run"]
    return "-".join([run["method"] or run["reference"], *config["datasets"], f"seed{run['seed']}"])
