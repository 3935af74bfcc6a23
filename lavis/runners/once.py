"""A runner for methods without training: one change of the weights, logged and saved like an epoch."""

from __future__ import annotations

import time

from lavis.common.registry import registry
from lavis.runners.epoch import EpochRunner
from lavis.runners.saving import TrainingState


@registry.register_runner("once")
class OnceRunner(EpochRunner):
    """Calls the trainer's `once()` and finishes; run.max_epoch is not read."""

    trains = False
    epochs = 1

    def train(self) -> TrainingState:
        """Change the weights, unless the folder's checkpoint already contains the changed ones."""
        self._start()
        with self.stop.listening(), self._bar() as self.bar:
            if self.state.epoch == 0:
                began = time.monotonic()
                self.loop.meter.add(self.trainer.once())
                self._finish_epoch(0, 0.0, time.monotonic() - began)
        return self._end()
