"""Weights & Biases, offline unless WANDB_MODE says otherwise: `wandb sync` uploads the folder when the user wants it.

wandb by itself collects the command line, the git state, the console and facts about the machine. The command line and
the console may say whom to forget, so all of that is off. WANDB_PROJECT, WANDB_ENTITY and WANDB_MODE are read.
"""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar

from lavis.common.logger import get_logger
from lavis.common.registry import registry
from lavis.trackers.base import CONTENT, TrackedRun, Tracker

PROJECT = "multidelete"
PRIVATE: dict[str, Any] = {
    "console": "off",
    "save_code": False,
    "disable_git": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "silent": True,
}


@registry.register_tracker("wandb")
class WeightsAndBiases(Tracker):
    """A run of W&B; its local folder is `wandb/` below the tracker's."""

    package: ClassVar[str] = "wandb"
    install: ClassVar[str] = "'multidelete-salmu[wandb]'"

    def start(self, run: TrackedRun) -> None:
        """A resumed run has the former run's id.

        Offline it gets a folder of its own, with the finished epochs once more: wandb writes to disk late, and a
        process that was killed leaves an empty file.
        """
        wandb: Any = importlib.import_module("wandb")
        known = self.recall().get("id")
        mode = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=known or secrets.token_hex(4),
            name=run.name,
            config=run.config,
            dir=str(self.folder),
            mode=mode,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(**PRIVATE),
        )
        self.remember(id=self._run.id, holder=_holder(self._run, mode))
        if known and mode == "offline":
            get_logger().info("wandb is offline: the resumed part of run %s is in a folder of its own", known)
            for step, values in run.past.items():
                self.log(step, values)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def finish(self, metrics: Mapping[str, float], complete: bool) -> None:
        self._run.summary.update(dict(metrics))
        self._run.finish(exit_code=0 if complete else 1)
        for path in [*self.folder.glob("wandb/debug*.log"), *self.folder.glob("wandb/*/logs/*")]:
            path.unlink(missing_ok=True)  # wandb's own logs, of which one is a link out of the run folder


def _holder(run: Any, mode: str) -> str:
    if mode == "offline":
        return f"W&B, if somebody uploads run {run.id} with `wandb sync`: {CONTENT}"
    return "" if mode == "disabled" else f"W&B, run {run.url}: {CONTENT}"
