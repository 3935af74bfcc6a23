"""Runs the training loop over epochs with logs, checkpoints and validation, for original models and every method."""

from __future__ import annotations

import contextlib
import inspect
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from tqdm import tqdm

from lavis.common import distributed
from lavis.common.checkpoint import discard_all
from lavis.common.logger import RunLog, get_logger
from lavis.common.registry import registry
from lavis.models.base import BaseModel
from lavis.runners import fsdp
from lavis.runners.compiled import check_compile, compile_blocks, uncompile
from lavis.runners.feed import Feed
from lavis.runners.loop import TrainingLoop
from lavis.runners.meters import Timed
from lavis.runners.options import apply_options
from lavis.runners.prefixes import store_prefixes
from lavis.runners.ranks import starting_facts
from lavis.runners.run_dir import RESULTS
from lavis.runners.saving import Saver, TrainingState
from lavis.runners.stop import StopFlag, Stopped
from lavis.settings.schema import RunConfig
from lavis.trackers.group import Trackers
from lavis.trainers.base import BaseTrainer
from lavis.trainers.parts import limit

Validate = Callable[[int], dict[str, float]]
STOP_EVERY = 8  # steps between checks whether any process got a SIGTERM: an all-reduce per step would be slow


@registry.register_runner("epoch")
class EpochRunner:
    """Runs a method from its first epoch, or its newest checkpoint, to its last epoch.

    Args:
        trainer: the method. feed: its micro-batches. folder: the run folder (locked by the caller).
        config: the whole configuration as plain containers, for checkpoints.
        validate: called after every epoch; returns statistics, and the highest "agg_metrics" is the best epoch.
    """

    trains: ClassVar[bool] = True  # False: it takes no steps, so that nothing is distributed

    @classmethod
    def check(cls, run: RunConfig, model: type[BaseModel]) -> None:
        """Raises ConfigError for settings that this runner cannot apply to such a model, and for missing packages."""
        fsdp.check_parallel(run, model)
        check_compile(run)
        for name in run.tracker:
            registry.get_tracker_class(name).check(name)

    def __init__(
        self, trainer: BaseTrainer, feed: Feed, folder: Path, config: dict[str, Any], validate: Validate | None = None
    ) -> None:
        self.trainer, self.feed, self.folder, self.validate = trainer, feed, folder, validate
        self.run, self.device = trainer.run, trainer.device
        self.model: BaseModel = trainer.model
        limit(trainer.model, trainer.run)
        measured = apply_options(trainer)
        if self.trains:
            store_prefixes(trainer, feed)
        if self.trains and self.run.compile:
            compile_blocks(self.model)
        self.loop = TrainingLoop(trainer, self._schedule(), alone=not self.trains)
        states = (self.loop.optimizer, self.loop.scaler)
        self.saver = Saver(folder, self.model, *states, config, self.run.keep_last, measured=measured)
        self.log = RunLog(folder, distributed.is_main())
        self.trackers = Trackers(folder, self.run.tracker if distributed.is_main() else ())
        self.state = TrainingState()
        self.stop = StopFlag()
        self.config = config

    @property
    def epochs(self) -> int:
        """Epochs of a complete run."""
        return self.run.max_epoch

    def train(self) -> TrainingState:
        """Train to the last epoch, from the newest checkpoint if there is one. Raises Stopped on SIGTERM."""
        self._start()
        _ = self.loop.network  # DDP broadcasts the weights before the first batch is drawn
        self.trainer.begin()
        with self.stop.listening(), contextlib.closing(self.feed), self._bar() as self.bar:
            for epoch in range(self.state.epoch, self.epochs):
                self._epoch(epoch)
        return self._end()

    def _end(self) -> TrainingState:
        self.saver.finish(self.state)
        self.model.cuts = {}
        self.trainer.anchor = self.trainer.held = None  # copies of the weights
        uncompile(self.model)
        return self.state

    def _start(self) -> None:
        self.saver.origin, self.saver.files = self._origin(), self.trainer.files
        resumed = self.saver.resume() if self.run.resume else None
        if resumed:
            self.state, meter = resumed
            self.loop.meter.restore(meter)
        if distributed.is_main():
            if not resumed:
                discard_all(self.folder)
            for name in (RESULTS, self.log.path.name):
                (self.folder / name).unlink(missing_ok=True)
            past = {(record["epoch"] + 1) * self.feed.steps: record for record in self.state.history}
            self.trackers.start(self.config, self._done, past)
        self.log.write({"config": self.config})
        for record in self.state.history:
            self.log.write(record)

    def _origin(self) -> dict[str, Any]:
        """What a resumed run must share with its beginning, in addition to the configuration."""
        batches = distributed.world_size() * self.run.accum_grad_iters
        return {"batches per step": batches, **starting_facts(self.trainer, self.feed)}

    def _epoch(self, epoch: int) -> None:
        steps, start = self.feed.steps, self.state.step
        began = time.monotonic()
        batches = Timed(self.feed.batches(epoch, start))
        for step in range(start, steps):
            rate = self.loop.step(batches, epoch, step)
            self.state.epoch, self.state.step = epoch, step + 1
            self.bar.update()
            if (step + 1) % self.run.log_freq == 0:
                self._check_finite()
                self._show(epoch, rate, (step + 1 - start) / max(time.monotonic() - began, 1e-9))
            if step + 1 < steps:
                self._between_steps(epoch, step + 1)
        seconds = time.monotonic() - began
        if epoch + 1 == self.epochs:
            self.feed.close()  # validation has workers of its own
        rate = self.loop.learning_rate(epoch, steps - 1)
        self._finish_epoch(epoch, rate, seconds, batches.seconds / max(seconds, 1e-9))

    def _show(self, epoch: int, rate: float, speed: float) -> None:
        """Pass the means over the epoch so far to the bar and, but for the epoch's last step, to the trackers."""
        means = self.loop.meter.means()
        self.bar.set_postfix({"lr": f"{rate:.2e}", **{name: f"{value:.4f}" for name, value in means.items()}})
        if self.state.step < self.feed.steps:
            norm = {} if self.loop.norm is None else {"train_grad_norm": float(self.loop.norm)}
            values = {"epoch": epoch, **_named(means), "train_lr": rate, **norm, "train_steps_per_second": speed}
            self.trackers.log(self._done, values)

    @property
    def _done(self) -> int:
        """Optimiser steps since the run's beginning."""
        return self.state.epoch * self.feed.steps + self.state.step

    def _check_finite(self) -> None:
        """Raises TrainingError. Called before anything is written or shown."""
        self.loop.check_finite(f"step {self.state.step} of epoch {self.state.epoch}")

    def _between_steps(self, epoch: int, step: int) -> None:
        every = self.run.save_freq_steps
        agreed = distributed.world_size() == 1 or step % STOP_EVERY == 0
        stopping = agreed and distributed.any_rank(self.stop.raised, self.device)
        if stopping or (every and step % every == 0):
            self._check_finite()
            path = self.saver.save(self.state, self.loop.meter.state(), epoch=epoch, step=step)
            if stopping:
                raise Stopped(f"stopped by SIGTERM after writing {path}; the same command continues from there")

    def _finish_epoch(self, epoch: int, rate: float, seconds: float, waiting: float = 0.0) -> None:
        self._check_finite()
        record: dict[str, Any] = {"epoch": epoch, **_named(self.loop.meter.means())}
        record |= {"train_lr": rate, "train_seconds": round(seconds, 3), "train_waiting": round(waiting, 4)}
        if self.validate is not None:
            record |= self._validated(epoch)
        else:
            self.state.best_epoch = epoch
        self.state.epoch, self.state.step = epoch + 1, 0
        self.state.history.append(record)
        self.loop.meter.reset()
        self.trackers.log(self._done, record)  # before the checkpoint: a run resumed from it does not log this again
        self.saver.save(self.state, self.loop.meter.state(), epoch=epoch)
        self.log.write(record)
        where = f"epoch {epoch + 1}/{self.epochs}"
        with self._over_bar():
            get_logger().info("%s  %s%s", where, _summary(record), self._time_left(epoch, seconds))
        if distributed.any_rank(self.stop.raised, self.device):
            raise Stopped(f"stopped by SIGTERM after epoch {epoch}; the same command continues from there")

    def _validated(self, epoch: int) -> dict[str, float]:
        assert self.validate is not None
        stats = self.validate(epoch)
        self.trainer.begin()
        score = stats.get("agg_metrics", -math.inf)
        if self.state.best_score is None or score > self.state.best_score:
            self.state.best_score, self.state.best_epoch = score, epoch
        return {name: value for name, value in stats.items() if name != "agg_metrics"}

    def _schedule(self) -> Callable[[int, int], float]:
        """The function run.lr_sched, given the run's settings that its signature names."""
        function = registry.get_lr_scheduler_class(self.run.lr_sched)
        settings = {name: getattr(self.run, name) for name in ("init_lr", "min_lr", "warmup_steps", "warmup_lr")}
        settings |= {"max_epoch": self.epochs, "steps_per_epoch": self.feed.steps}
        taken = inspect.signature(function).parameters
        return partial(function, **{name: value for name, value in settings.items() if name in taken})

    def _bar(self) -> tqdm:
        """A progress bar over the steps of the whole run; hidden if stderr is not a terminal."""
        hidden = None if distributed.is_main() else True  # None lets tqdm look for a terminal
        total = self.epochs * self.feed.steps
        return tqdm(total=total, initial=self._done, desc=self.trainer.method, unit="step", disable=hidden, leave=False)

    def _over_bar(self) -> contextlib.AbstractContextManager:
        """Log lines written in here appear above the bar."""
        return tqdm.external_write_mode() if not self.bar.disable else contextlib.nullcontext()

    def _time_left(self, epoch: int, seconds: float) -> str:
        left = round(seconds * (self.epochs - epoch - 1))
        return f"  about {left // 60} min {left % 60:02d} s left" if left else ""


def _named(means: dict[str, float]) -> dict[str, float]:
    return {f"train_{name}": value for name, value in means.items()}


def _summary(record: dict[str, Any]) -> str:
    shown = {k: v for k, v in record.items() if isinstance(v, float) and k != "train_lr"}
    return "  ".join(f"{name} {value:.4f}" for name, value in shown.items())
