"""The only training loop: original models and every unlearning method run through it."""

from __future__ import annotations

import contextlib
import inspect
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from lavis.common import distributed
from lavis.common.checkpoint import discard_all, weights_digest
from lavis.common.errors import TrainingError
from lavis.common.logger import RunLog, get_logger
from lavis.common.optim import build_optimizer, set_lr
from lavis.common.precision import amp_dtype
from lavis.common.registry import registry
from lavis.common.run_dir import RESULTS
from lavis.models.base import BaseModel
from lavis.runners import fsdp
from lavis.runners.feed import Feed
from lavis.runners.meters import Finite, Meter, Timed
from lavis.runners.saving import Saver, TrainingState
from lavis.runners.stop import StopFlag, Stopped
from lavis.trainers.base import BaseTrainer, Batch

Validate = Callable[[int], dict[str, float]]
STOP_EVERY = 8  # steps between the processes' agreement on stopping


class MicroBatchLoss(nn.Module):
    """The trainer's loss as a module's forward: whatever a method does with the model, DDP sees all of it."""

    def __init__(self, trainer: BaseTrainer) -> None:
        super().__init__()
        self.model, self.trainer = trainer.model, trainer

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.trainer.loss(batch)


@registry.register_runner("epoch")
class EpochRunner:
    """Epochs of steps: forward, backward, optimiser, records, checkpoints.

    Args:
        trainer: the method. feed: its micro-batches. folder: the run folder (locked by the caller).
        config: the whole configuration as plain containers, for checkpoints.
        validate: called after every epoch; returns statistics, "agg_metrics" among them chooses the best epoch.
    """

    shards: ClassVar[bool] = True  # whether run.parallel=fsdp is followed

    def __init__(
        self, trainer: BaseTrainer, feed: Feed, folder: Path, config: dict[str, Any], validate: Validate | None = None
    ) -> None:
        self.trainer, self.feed, self.folder, self.validate = trainer, feed, folder, validate
        self.run, self.device = trainer.run, trainer.device
        self.model: BaseModel = trainer.model
        self.network = self._sharded()
        self.optimizer = build_optimizer(self.model, self.run, self.device)
        fp16 = self.run.amp and amp_dtype(self.run, self.device) is torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=fp16)
        self.saver = Saver(folder, self.model, self.optimizer, self.scaler, config, self.run.keep_last)
        self.log = RunLog(folder, distributed.is_main(), self.run.tensorboard)
        self.meter = Meter(self.device)
        self.finite = Finite(self.device)
        self.progress = TrainingState()
        self.schedule = self._schedule()
        self.stop = StopFlag()
        self.config = config

    def train(self) -> TrainingState:
        """Run to the last epoch, from the newest checkpoint if there is one. Raises Stopped on SIGTERM."""
        self._start()
        network = self._network()
        self.model.train()
        with self.stop.listening(), self._bar() as self.bar:
            for epoch in range(self.progress.epoch, self.run.max_epoch):
                self._epoch(network, epoch)
        self.log.close()
        return self.progress

    def _start(self) -> None:
        self.saver.origin = self._origin()
        found = self.saver.resume() if self.run.resume else None
        if found:
            self.progress, meter = found
            self.meter.restore(meter)
        if distributed.is_main():
            if not found:
                discard_all(self.folder)
            for name in (RESULTS, self.log.path.name):
                (self.folder / name).unlink(missing_ok=True)
        self.log.write({"config": self.config})
        for record in self.progress.history:
            self.log.write(record)

    def _origin(self) -> dict[str, Any]:
        """What a resumed run must have in common with its beginning, beside the configuration."""
        batches = distributed.world_size() * self.run.accum_grad_iters
        weights = weights_digest(fsdp.whole(self.model.checkpoint_state()))
        return {"batches a step": batches, "starting weights": weights, "training data": self.feed.digest()}

    def _sharded(self) -> nn.Module | None:
        fsdp.check_parallel(self.run, self.model)
        if self.run.parallel != "fsdp" or not self.shards or distributed.world_size() == 1:
            return None
        return fsdp.shard(MicroBatchLoss(self.trainer), self.model, self.device)

    def _network(self) -> nn.Module:
        if self.network is not None:
            return self.network
        loss = MicroBatchLoss(self.trainer)
        if not distributed.initialized():
            return loss
        ids = [self.device.index] if self.device.type == "cuda" else None
        unused = self.run.find_unused_parameters or self.model.spares
        return DistributedDataParallel(loss, device_ids=ids, find_unused_parameters=unused)

    def _epoch(self, network: nn.Module, epoch: int) -> None:
        steps, start = self.feed.steps, self.progress.step
        began = time.monotonic()
        batches = Timed(self.feed.batches(epoch, start))
        for step in range(start, steps):
            lr = self._step(network, batches, epoch, step)
            self.progress.epoch, self.progress.step = epoch, step + 1
            self.bar.update()
            if (step + 1) % self.run.log_freq == 0:
                self._check_finite()
                self.bar.set_postfix({"lr": f"{lr:.2e}", **{k: f"{v:.4f}" for k, v in self.meter.means().items()}})
            if step + 1 < steps:
                self._between_steps(epoch, step + 1)
        seconds = time.monotonic() - began
        self._finish_epoch(epoch, self._lr(epoch, steps - 1), seconds, batches.seconds / max(seconds, 1e-9))

    def _step(self, network: nn.Module, batches: Iterator[Batch], epoch: int, step: int) -> float:
        lr = self._lr(epoch, step)
        set_lr(self.optimizer, lr)
        accum = self.run.accum_grad_iters
        for part in range(accum):
            last = part == accum - 1
            with self._no_sync(network, last):
                total, terms = network(next(batches))
                self.scaler.scale(total / accum).backward()
            self.meter.add({"loss": total.detach(), **terms})
            self.finite.see(total.detach())
        self._update()
        return lr

    def _no_sync(self, network: nn.Module, last: bool) -> contextlib.AbstractContextManager:
        if last:
            return contextlib.nullcontext()
        if network is self.network:
            return fsdp.without_reduction(network)
        return network.no_sync() if isinstance(network, DistributedDataParallel) else contextlib.nullcontext()

    def _update(self) -> None:
        self.scaler.unscale_(self.optimizer)
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self.network is not None:
            fsdp.average_whole(parameters)
        norm = fsdp.total_norm([p.grad for p in parameters if p.grad is not None])
        if not self.scaler.is_enabled():  # the scaler skips such steps, and lowers its scale
            self.finite.see(norm)
            if self.trainer.reads_each_loss and not self.finite:
                raise TrainingError("the gradient is not finite; the optimiser has not stepped. Lower run.init_lr")
        if self.run.max_grad_norm:
            fsdp.clip(parameters, self.run.max_grad_norm, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.trainer.trains_scale:
            self.model.clamp_scale()

    def _check_finite(self) -> None:
        """Before anything is written or shown. Raises TrainingError."""
        if not self.finite:
            raise TrainingError(
                f"loss or gradient of '{self.trainer.method}' became not finite by step {self.progress.step} of epoch "
                f"{self.progress.epoch}; since the newest checkpoint nothing was written, and the same command goes on "
                "from there. Lower run.init_lr or set run.max_grad_norm=1; with run.device=cpu the run stops at the "
                "very step and names the term"
            )

    def _between_steps(self, epoch: int, step: int) -> None:
        every = self.run.save_freq_steps
        agreed = distributed.world_size() == 1 or step % STOP_EVERY == 0
        stopping = agreed and distributed.any_rank(self.stop.raised, self.device)
        if stopping or (every and step % every == 0):
            self._check_finite()
            path = self.saver.save(self.progress, self.meter.state(), epoch=epoch, step=step)
            if stopping:
                raise Stopped(f"stopped by SIGTERM; {path} is written, the same command goes on from there")

    def _finish_epoch(self, epoch: int, lr: float, seconds: float, waiting: float = 0.0) -> None:
        self._check_finite()
        record: dict[str, Any] = {"epoch": epoch, **{f"train_{k}": v for k, v in self.meter.means().items()}}
        record |= {"train_lr": lr, "train_seconds": round(seconds, 3), "train_waiting": round(waiting, 4)}
        if self.validate is not None:
            record |= self._validated(epoch)
        else:
            self.progress.best_epoch = epoch
        self.progress.epoch, self.progress.step = epoch + 1, 0
        self.progress.history.append(record)
        self.meter.reset()
        self.saver.save(self.progress, self.meter.state(), epoch=epoch)
        self.log.write(record, step=epoch)
        where = f"epoch {epoch + 1}/{self.run.max_epoch}"
        with self._over_bar():
            get_logger().info("%s  %s%s", where, _summary(record), self._time_left(epoch, seconds))
        if distributed.any_rank(self.stop.raised, self.device):
            raise Stopped(f"stopped by SIGTERM after epoch {epoch}; the same command goes on from there")

    def _validated(self, epoch: int) -> dict[str, float]:
        assert self.validate is not None
        stats = self.validate(epoch)
        self.model.train()
        score = stats.get("agg_metrics", -math.inf)
        if self.progress.best_score is None or score > self.progress.best_score:
            self.progress.best_score, self.progress.best_epoch = score, epoch
        return {name: value for name, value in stats.items() if name != "agg_metrics"}

    def _schedule(self) -> Callable[[int, int], float]:
        function = registry.get_lr_scheduler_class(self.run.lr_sched)
        known = {
            "init_lr": self.run.init_lr,
            "min_lr": self.run.min_lr,
            "max_epoch": self.run.max_epoch,
            "warmup_steps": self.run.warmup_steps,
            "warmup_lr": self.run.warmup_lr,
            "steps_per_epoch": self.feed.steps,
        }
        taken = inspect.signature(function).parameters
        chosen = {name: value for name, value in known.items() if name in taken}
        return lambda epoch, step: function(epoch, step, **chosen)

    def _lr(self, epoch: int, step: int) -> float:
        return self.schedule(epoch, step)

    def _bar(self) -> tqdm:
        """Steps of the whole run with the time left; silent where stderr is no terminal."""
        hidden = None if distributed.is_main() else True
        done = self.progress.epoch * self.feed.steps + self.progress.step
        total = self.run.max_epoch * self.feed.steps
        return tqdm(total=total, initial=done, desc=self.trainer.method, unit="step", disable=hidden, leave=False)

    def _over_bar(self) -> contextlib.AbstractContextManager:
        """Log lines above the bar, not through it."""
        return tqdm.external_write_mode() if not self.bar.disable else contextlib.nullcontext()

    def _time_left(self, epoch: int, seconds: float) -> str:
        left = round(seconds * (self.run.max_epoch - epoch - 1))
        return f"  about {left // 60} min {left % 60:02d} s left" if left else ""


def _summary(record: dict[str, Any]) -> str:
    shown = {k: v for k, v in record.items() if isinstance(v, float) and k != "train_lr"}
    return "  ".join(f"{name} {value:.4f}" for name, value in shown.items())
