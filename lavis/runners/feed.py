"""The training data of a run: its micro-batches, moved to the device."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from lavis.common import distributed
from lavis.common.transfer import move
from lavis.datasets.annotations import row_facts
from lavis.datasets.loaders import BatchPlan, SinglePlan, row_weight
from lavis.datasets.mapped import ImageNames
from lavis.datasets.pairs import PairDataset
from lavis.images.fingerprint import content_digest, rows_digest, sampled
from lavis.models.base import BaseModel, TrainingStep
from lavis.runners.stream import Share, Stream
from lavis.settings.schema import RunConfig
from lavis.trainers.base import Batch


class Rows(Protocol):
    """`n` rows of equal shape, taken by number; (B, …) on the CPU."""

    @property
    def n(self) -> int: ...

    def take(self, numbers: Sequence[int]) -> torch.Tensor: ...


@dataclass(frozen=True)
class RowsInMemory:
    """Rows (n, …) of a tensor on the CPU."""

    tensor: torch.Tensor

    @property
    def n(self) -> int:
        return len(self.tensor)

    def take(self, numbers: Sequence[int]) -> torch.Tensor:
        return self.tensor[list(numbers)]


@dataclass(frozen=True)
class Stored:
    """Stored states of a set: row `group[i]`, or i, of `rows` belongs to what the batch's key `number` calls i.

    views: how many versions of the set follow each other in `rows`; epoch e reads number e mod `views`.
    """

    rows: Rows
    number: str
    group: torch.Tensor | None = None
    views: int = 1

    def of(self, batch: dict[str, Any], epoch: int) -> torch.Tensor:
        """The states (B, …) of a batch of this epoch, on the CPU. Raises DataError if the file was damaged."""
        numbers = batch[self.number]
        numbers = numbers if self.group is None else self.group[numbers]
        return self.rows.take((numbers + epoch % self.views * (self.rows.n // self.views)).tolist())


@dataclass
class Feed:
    """Micro-batches of this process.

    `datasets` has the keys "df" and "dr" (half a batch each), only "df" (half a batch, so that an epoch has as many
    steps as with both) or only "dr" (whole batches: training, not unlearning). `stored`: by set and side ("image",
    "text"), the states that batches get as "image_states" and "text_states".
    """

    datasets: dict[str, PairDataset]
    model: BaseModel
    run: RunConfig
    device: torch.device
    stored: dict[str, dict[str, Stored]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = self.run.batch_size_train
        rows = {name: len(dataset) for name, dataset in self.datasets.items()}
        if len(rows) == 2:
            self.plan: Any = BatchPlan(rows["df"], rows["dr"], size // 2, self.run.draw_seed)
        else:
            ((name, n),) = rows.items()
            forgets = name == "df"
            self.plan = SinglePlan(n, size // 2 if forgets else size, self.run.draw_seed, every_row=forgets)
        where = (distributed.rank(), distributed.world_size(), self.run.accum_grad_iters)
        self._share = Share(self.plan, tuple(self.datasets), *where, self.run.max_steps_per_epoch)
        loading = (self.run.num_workers, self.device.type == "cuda", self.model.caption_tokens)
        self._stream = Stream(self.datasets, self._share, self.run.max_epoch, *loading)

    @property
    def steps(self) -> int:
        """Optimiser steps per epoch."""
        return self._share.steps

    def batches(self, epoch: int, start_step: int) -> Iterator[Batch]:
        """This process's micro-batches of an epoch, starting at an optimiser step; `close` ends the workers."""
        share, world = self._share, self._share.world
        for item in self._stream.epoch(epoch, start_step):
            number = item.pop("micro")
            sets = {name: move(self._inputs(name, rows, epoch), self.device) for name, rows in item.items()}
            progress = TrainingStep(epoch, number // share.parts, self.steps)
            together = number - number % world  # the micro-batches that the processes compute at the same time
            rows = tuple(share.sizes[together : together + world])
            weight = row_weight(share.sizes, number, share.parts, world if self.run.gather_similarity else 1)
            yield Batch(
                sets, self.run.draw_seed, epoch, number, self.device, progress, self.run.gather_similarity, rows, weight
            )

    def close(self) -> None:
        """End the processes that load images."""
        self._stream.close()

    def _inputs(self, name: str, rows: dict[str, Any], epoch: int) -> dict[str, Any]:
        states = {f"{side}_states": stored.of(rows, epoch) for side, stored in self.stored.get(name, {}).items()}
        return {**(rows if "tokens" in rows else {**rows, **self.model.prepare(rows)}), **states}

    @property
    def rows(self) -> dict[str, int]:
        """The number of rows of every set."""
        return {f"number of rows of {name}": len(dataset) for name, dataset in sorted(self.datasets.items())}

    @functools.cached_property
    def facts(self) -> dict[str, str]:
        """Digests of what is trained on: every set's rows in order, with all their fields, and its images' content."""
        sets = sorted(self.datasets.items())
        rows = rows_digest([(name, map(row_facts, dataset.entries)) for name, dataset in sets])
        images = [sampled(part.store, ImageNames(part.entries)) for _, part in sets]
        return {"rows to train on": rows, "images to train on": content_digest(images)}

    def rows_drawn(self) -> int:
        """Rows of each set that the whole run will use."""
        micro_batches = self.steps * self.run.max_epoch * self._share.parts
        return micro_batches * (self.run.batch_size_train // 2)
