"""Optimiser steps: forward, backward, accumulation, clipping, and the check that everything stays finite.

This is the only training loop. `EpochRunner` runs it over epochs with checkpoints and logs; an evaluation that trains
a copy of the model (relearning) calls it step by step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lavis.common import distributed
from lavis.common.errors import TrainingError
from lavis.common.precision import amp_dtype, short_products
from lavis.runners import fsdp
from lavis.runners.meters import Finite, Meter
from lavis.runners.optim import build_optimizer
from lavis.settings.parts_schema import SALUN
from lavis.trainers.base import BaseTrainer, Batch


class MicroBatchLoss(nn.Module):
    """The trainer's loss as a module's forward pass, so that DDP sees whatever a method does with the model."""

    def __init__(self, trainer: BaseTrainer) -> None:
        super().__init__()
        self.model, self.trainer = trainer.model, trainer

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.trainer.loss(batch)


class TrainingLoop:
    """One method's optimiser steps on one model.

    Args:
        trainer: the method; its `run` has the settings of optimiser, accumulation, clipping and precision.
        learning_rate: maps (epoch, step) to the rate of that step.
        alone: this process trains a model of its own and exchanges no gradients with others.

    Attributes: `optimizer` and `scaler`, whose states belong in a checkpoint; `meter`, the running means of the terms;
    `norm`, the last step's norm of the gradient before clipping, where it is computed.
    """

    def __init__(
        self, trainer: BaseTrainer, learning_rate: Callable[[int, int], float], *, alone: bool = False
    ) -> None:
        self.trainer, self.model = trainer, trainer.model
        self.run, self.device = trainer.run, trainer.device
        self.learning_rate = learning_rate
        self._alone = alone
        assert (trainer.held is not None) == (self.run.select.rule == SALUN), "apply_options sets what run.select holds"
        self._fsdp = None if alone else self._sharded()  # first, because the optimiser must be given the parts
        self.optimizer = build_optimizer(self.model, self.run, self.device)
        fp16 = self.run.amp and amp_dtype(self.run, self.device) is torch.float16
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=fp16)
        self.meter = Meter(self.device)
        self.norm: torch.Tensor | None = None
        self._finite = Finite(self.device)
        self._network: nn.Module | None = None

    def step(self, batches: Iterator[Batch], epoch: int, step: int) -> float:
        """Take one step over the next `run.accum_grad_iters` micro-batches; returns its learning rate.

        Raises TrainingError if loss or gradient is not finite; if the device's losses are not read in every step,
        `check_finite` raises it later.
        """
        rate = self.learning_rate(epoch, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        accumulated = self.run.accum_grad_iters
        for part in range(accumulated):
            with self._no_sync(last=part == accumulated - 1), short_products(self.run, self.device):
                batch = next(batches)
                total, terms = self.network(batch)
                self.scaler.scale(total / (accumulated / batch.weight)).backward()
            self.meter.add({"loss": total.detach(), **terms})
            self._finite.see(total.detach())
        self._update()
        return rate

    def check_finite(self, where: str) -> None:
        """Raises TrainingError if any loss or gradient so far was not finite; `where` says how far the run is.

        Where gradients are not looked at in every step, the weights show it: a step that is not finite spoils them.
        """
        if not self.trainer.reads_each_loss:
            self._finite.see(fsdp.total_norm([p.detach() for p in self.model.parameters() if p.requires_grad]))
        if not self._finite:
            raise TrainingError(
                f"loss or gradient of '{self.trainer.method}' became not finite by {where}; the same command continues "
                "from the newest checkpoint, which is sound. Lower run.init_lr or set run.max_grad_norm=1; with "
                "run.device=cpu the run stops at that very step and names the term"
            )

    @property
    def network(self) -> nn.Module:
        """The loss as a module: plain, in DistributedDataParallel, or sharded. Built on first use."""
        if self._network is None:
            self._network = self._fsdp if self._fsdp is not None else self._wrapped()
        return self._network

    def _sharded(self) -> nn.Module | None:
        if self.run.parallel != "fsdp" or distributed.world_size() == 1:
            return None
        return fsdp.shard(MicroBatchLoss(self.trainer), self.model, self.device)

    def _wrapped(self) -> nn.Module:
        loss = MicroBatchLoss(self.trainer)
        if self._alone or not distributed.initialized():
            return loss
        ids = [self.device.index] if self.device.type == "cuda" else None
        unused = self.run.find_unused_parameters or self.model.spares
        return DistributedDataParallel(loss, device_ids=ids, find_unused_parameters=unused)

    def _no_sync(self, last: bool) -> contextlib.AbstractContextManager:
        """Processes exchange gradients once per step, with the last micro-batch."""
        if last:
            return contextlib.nullcontext()
        if self._fsdp is not None:
            return fsdp.without_reduction(self._fsdp)
        return self.network.no_sync() if isinstance(self.network, DistributedDataParallel) else contextlib.nullcontext()

    @property
    def _checks_gradient(self) -> bool:
        """In every step; not for the scaler, which itself skips steps that are not finite and lowers its scale."""
        return self.trainer.reads_each_loss and not self.scaler.is_enabled()

    def _update(self) -> None:
        self.scaler.unscale_(self.optimizer)
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self._fsdp is not None:
            fsdp.average_whole(parameters)
        if self.trainer.held:
            self.trainer.held.mask_gradients()
        if self.run.max_grad_norm or self._checks_gradient:
            self.norm = norm = fsdp.total_norm([p.grad for p in parameters if p.grad is not None])
            if self._checks_gradient:
                self._finite.see(norm)
                if not self._finite:
                    raise TrainingError("the gradient is not finite; the optimiser has not stepped. Lower run.init_lr")
            if self.run.max_grad_norm:
                fsdp.clip(parameters, self.run.max_grad_norm, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.trainer.held:
            self.trainer.held.restore()
        self.optimizer.zero_grad(set_to_none=True)
        if self.trainer.trains_scale:
            self.model.clamp_scale()
