"""The training data of a run: which micro-batches, moved to the device, and the teacher's stored embeddings."""

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

    `datasets` has the keys "df" and "dr" (half a batch of each), "df" alone (half a batch, so that an epoch has as
    many steps as with both) or "dr" alone (whole batches: a model that is trained, not unlearned).
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
        """Optimiser steps of an epoch."""
        accum, most = self.run.accum_grad_iters, self.run.max_steps_per_epoch
        return steps_per_epoch(len(self.plan), distributed.world_size(), accum, most)

    def batches(self, epoch: int, start_step: int) -> Iterator[Batch]:
        """This process's micro-batches from an optimiser step on."""
        a_step = distributed.world_size() * self.run.accum_grad_iters
        for item in self._loader(epoch, start_step):
            number = item.pop("micro")
            sides = {side: self._move(rows) for side, rows in item.items()}
            progress = TrainingStep(epoch, number // a_step, self.steps)
            yield Batch(sides, self.run.seed, epoch, number, self.device, progress, self.run.gather_similarity)

    def _loader(self, epoch: int, start_step: int) -> Any:
        where = (epoch, distributed.rank(), distributed.world_size(), self.run.accum_grad_iters, start_step)
        options: dict[str, Any] = {"num_workers": self.run.num_workers, "max_steps": self.run.max_steps_per_epoch}
        options["pin_memory"] = self.device.type == "cuda"
        return training_loader(self.datasets, self.plan, *where, **options)

    def _move(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Rows with the model's inputs, tensors on the device."""
        prepared = {**rows, **self.model.prepare(rows)}
        return {key: self._on_device(value) for key, value in prepared.items()}

    def _on_device(self, value: Any) -> Any:
        return value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value

    def digest(self) -> str:
        """A hash of every side's images and captions in their order."""
        found = hashlib.blake2b(digest_size=16)
        for side, dataset in sorted(self.datasets.items()):
            found.update(repr((side, [(entry.image, entry.captions) for entry in dataset.entries])).encode())
        return found.hexdigest()

    def rows_drawn(self) -> int:
        """Rows of each side that the whole run will use."""
        return (
            self.steps
            * self.run.max_epoch
            * self.run.accum_grad_iters
            * distributed.world_size()
            * (self.run.batch_size_train // 2)
        )
