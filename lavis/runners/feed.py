"""The training data of a run: its micro-batches, moved to the device."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from lavis.common import distributed
from lavis.datasets.loaders import BatchPlan, SinglePlan, steps_per_epoch, training_loader
from lavis.datasets.pairs import PairDataset
from lavis.models.base import BaseModel, TrainingStep
from lavis.settings.schema import RunConfig
from lavis.trainers.base import Batch


@dataclass
class Feed:
    """Micro-batches of this process.

    `datasets` has the keys "df" and "dr" (half a batch each), only "df" (half a batch, so that an epoch has as many
    steps as with both) or only "dr" (whole batches: training, not unlearning).
    """

    datasets: dict[str, PairDataset]
    model: BaseModel
    run: RunConfig
    device: torch.device

    def __post_init__(self) -> None:
        size = self.run.batch_size_train
        rows = {name: len(dataset) for name, dataset in self.datasets.items()}
        if len(rows) == 2:
            self.plan: Any = BatchPlan(rows["df"], rows["dr"], size // 2, self.run.seed)
        else:
            ((name, n),) = rows.items()
            self.plan = SinglePlan(n, size // 2 if name == "df" else size, self.run.seed)

    @property
    def steps(self) -> int:
        """Optimiser steps per epoch."""
        accum, most = self.run.accum_grad_iters, self.run.max_steps_per_epoch
        return steps_per_epoch(len(self.plan), distributed.world_size(), accum, most)

    def batches(self, epoch: int, start_step: int) -> Iterator[Batch]:
        """This process's micro-batches of an epoch, starting at an optimiser step."""
        world, accum = distributed.world_size(), self.run.accum_grad_iters
        where = (epoch, distributed.rank(), world, accum, start_step)
        options: dict[str, Any] = {"num_workers": self.run.num_workers, "max_steps": self.run.max_steps_per_epoch}
        options["pin_memory"] = self.device.type == "cuda"
        for item in training_loader(self.datasets, self.plan, *where, **options):
            number = item.pop("micro")
            sets = {name: self._move(rows) for name, rows in item.items()}
            progress = TrainingStep(epoch, number // (world * accum), self.steps)
            yield Batch(sets, self.run.seed, epoch, number, self.device, progress, self.run.gather_similarity)

    def _move(self, rows: dict[str, Any]) -> dict[str, Any]:
        """The rows together with the model's inputs, tensors on the device."""
        return {
            key: value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
            for key, value in {**rows, **self.model.prepare(rows)}.items()
        }

    def digest(self) -> str:
        """A hash of every set's images and captions, in order."""
        digest = hashlib.blake2b(digest_size=16)
        for name, dataset in sorted(self.datasets.items()):
            digest.update(repr((name, [(entry.image, entry.captions) for entry in dataset.entries])).encode())
        return digest.hexdigest()

    def rows_drawn(self) -> int:
        """Rows of each set that the whole run will use."""
        micro_batches = self.steps * self.run.max_epoch * self.run.accum_grad_iters * distributed.world_size()
        return micro_batches * (self.run.batch_size_train // 2)
