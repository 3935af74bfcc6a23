"""MLflow: a database in the run folder, or the server or store that MLFLOW_TRACKING_URI names.

The client is used rather than `mlflow.start_run`, which records the user's name and the command's file.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from lavis.common.logger import get_logger
from lavis.common.registry import registry
from lavis.trackers.base import CONTENT, TrackedRun, Tracker

EXPERIMENT = "multidelete"
CLOCK = "epoch"  # every row has it, so its history says which steps MLflow already has
PARAMS, LONGEST = 100, 500  # MLflow's limits: parameters per request, characters of a value
ODD = re.compile(r"[^/\w.\- :]")  # what MLflow refuses in names


@registry.register_tracker("mlflow")
class MLflow(Tracker):
    """A run of MLflow: parameters, and metrics by step."""

    package: ClassVar[str] = "mlflow"
    install: ClassVar[str] = "'multidelete-salmu[mlflow]'"

    def start(self, run: TrackedRun) -> None:
        """A resumed run continues the former one, and skips the steps that MLflow has."""
        self._mlflow: Any = importlib.import_module("mlflow")
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.folder.resolve() / 'mlflow.db'}"
        self._client = self._mlflow.MlflowClient(tracking_uri=uri)
        self._last = run.done
        known = self.recall().get("id")
        if not (known and self._continued(known)):
            self._begin(run)
        self.remember(id=self._id, holder=self._holder())

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step <= self._known:
            return
        self._last = step
        now = int(time.time() * 1000)
        rows = [self._mlflow.entities.Metric(ODD.sub("_", name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=rows)

    def finish(self, metrics: Mapping[str, float], complete: bool) -> None:
        had = self._client.get_run(self._id).data.metrics
        self._known = -1
        self.log(self._last, {name: value for name, value in metrics.items() if had.get(ODD.sub("_", name)) != value})
        self._client.set_terminated(self._id, "FINISHED" if complete else "KILLED")

    def _continued(self, known: str) -> bool:
        try:
            self._client.update_run(known, status="RUNNING")
        except self._mlflow.exceptions.MlflowException:
            get_logger().warning("mlflow has no run %s any more; this run continues as a new one", known)
            return False
        self._id = known
        self._known = max((row.step for row in self._client.get_metric_history(known, CLOCK)), default=-1)
        return True

    def _begin(self, run: TrackedRun) -> None:
        self._known = -1
        self._id = self._client.create_run(self._experiment(), run_name=run.name).info.run_id
        params = [self._mlflow.entities.Param(name, value[:LONGEST]) for name, value in _flat(run.config)]
        for first in range(0, len(params), PARAMS):
            self._client.log_batch(self._id, params=params[first : first + PARAMS])

    def _experiment(self) -> str:
        """The id of the experiment MLFLOW_EXPERIMENT_NAME; another run may create it at the same moment."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        with contextlib.suppress(self._mlflow.exceptions.MlflowException):
            return self._client.create_experiment(name)
        return self._client.get_experiment_by_name(name).experiment_id

    def _holder(self) -> str:
        """Nothing for the run folder's own database. A server's address may contain a password; its host does not."""
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            return ""
        return f"MLflow at {urlsplit(uri).hostname or 'a store on this machine'}, run {self._id}: {CONTENT}"


def _flat(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)
