"""TensorBoard: an event file in the run folder; `tensorboard --logdir output` shows all runs below it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

from lavis.common.registry import registry
from lavis.trackers.base import TrackedRun, Tracker


@registry.register_tracker("tensorboard")
class TensorBoard(Tracker):
    """Scalars by step, and the settings as text."""

    package: ClassVar[str] = "tensorboard"
    install: ClassVar[str] = "'multidelete-salmu[tensorboard]'"

    def start(self, run: TrackedRun) -> None:
        """A resumed run writes another file into the folder; TensorBoard then drops later steps of the former one."""
        from torch.utils.tensorboard import SummaryWriter

        self._last = run.done
        self._writer = SummaryWriter(str(self.folder), purge_step=run.done + 1 if run.done else None)
        if not run.done:
            self._writer.add_text("config", f"```\n{json.dumps(run.config, indent=1)}\n```")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._last = step
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self, metrics: Mapping[str, float], complete: bool) -> None:
        """The final metrics come one step after the last, which a repeated end replaces."""
        self.log(self._last + 1, metrics)
        self._writer.close()
