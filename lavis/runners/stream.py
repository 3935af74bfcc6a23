"""A process's micro-batches of a whole run, from one loader: its workers stay alive from epoch to epoch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lavis.datasets.loaders import (
    BatchPlan,
    Fetch,
    Item,
    MicroBatchLoader,
    Rows,
    SinglePlan,
    micro_numbers,
    steps_per_epoch,
)
from lavis.datasets.pairs import PairDataset
from lavis.models.base import Tokenize


@dataclass(frozen=True)
class Share:
    """The micro-batches of every epoch that process `rank` of `world` takes: `accum` of them in each step.

    names: of the data sets, in the plan's order: "df" and "dr" with a BatchPlan, one of any name with a SinglePlan.
    """

    plan: BatchPlan | SinglePlan
    names: tuple[str, ...]
    rank: int = 0
    world: int = 1
    accum: int = 1
    max_steps: int | None = None

    @property
    def parts(self) -> int:
        """Micro-batches per optimiser step, of all processes."""
        return self.world * self.accum

    @cached_property
    def sizes(self) -> list[int]:
        """The rows of every micro-batch of an epoch, of all processes."""
        return self.plan.sizes(self.parts)

    @property
    def steps(self) -> int:
        """Optimiser steps per epoch. Raises DataError as `steps_per_epoch` does."""
        return steps_per_epoch(len(self.sizes), self.world, self.accum, self.max_steps)

    @cached_property
    def numbers(self) -> list[int]:
        """The numbers of its micro-batches, the same in every epoch, in order. Raises DataError as `steps` does."""
        return micro_numbers(range(self.steps), self.rank, self.world, self.accum)

    def items(self, epoch: int) -> list[Item]:
        """What a loader fetches for them in this epoch."""
        micro = self.plan.micro_batches(epoch, self.parts)
        return [(epoch, number, self._named(micro[number])) for number in self.numbers]

    def _named(self, rows: Rows | tuple[Rows, Rows]) -> dict[str, Rows]:
        return dict(zip(self.names, rows if isinstance(rows, tuple) else (rows,), strict=True))


class Planned(Sequence[Item]):
    """The items of a share from position `first` to the end of epoch `epochs` - 1, epochs one after the other.

    An epoch is planned when its first item is asked for, so that a loader that is one epoch ahead plans only that.
    """

    def __init__(self, share: Share, first: int, epochs: int) -> None:
        self._share, self._first, self._end = share, first, epochs * len(share.numbers)
        self._epoch, self._items = -1, list[Item]()

    def __len__(self) -> int:
        return self._end - self._first

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        epoch, place = divmod(self._first + index, len(self._share.numbers))
        if epoch != self._epoch:
            self._epoch, self._items = epoch, self._share.items(epoch)
        return self._items[place]


class Stream:
    """Loads a share of `datasets` in `epochs` epochs, in order; workers load the next epoch's first batches early.

    Each micro-batch is {name: batch of each data set, "micro": number}. What it loads ahead is bounded as in one epoch:
    torch asks for two micro-batches per worker. tokens: called when a loader starts, for what makes the key "tokens" of
    batches (None: they get none). `close` ends the workers.
    """

    def __init__(
        self,
        datasets: dict[str, PairDataset],
        share: Share,
        epochs: int,
        num_workers: int = 0,
        pin_memory: bool = False,
        tokens: Callable[[], Tokenize | None] = lambda: None,
    ) -> None:
        self.share, self.epochs, self._tokens = share, epochs, tokens
        self._fetch, self._num_workers, self._pin_memory = Fetch(datasets, "micro"), num_workers, pin_memory
        self._items: Generator[dict[str, Any], None, None] | None = None
        self._next: int | None = None  # position in the run of what `_items` yields next; None: unknown, after an error
        self._working = False

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[dict[str, Any]]:
        """The micro-batches of an epoch from an optimiser step on. Steps before it are not loaded.

        In the run's order the loader goes on; from any other place, or past the last epoch, it is started again.
        """
        if self._working and self._fetch.in_memory:  # the first epoch has filled a cache: workers would only copy
            self.close()
        length = len(self.share.numbers)
        for position in range(epoch * length + start_step * self.share.accum, (epoch + 1) * length):
            yield self._take(position)

    def close(self) -> None:
        """End the workers; a later `epoch` starts them again."""
        if self._items is not None:
            self._items.close()
        self._items, self._next, self._working = None, None, False

    def _take(self, position: int) -> dict[str, Any]:
        if self._items is None or self._next != position:
            self.close()
            self._items = self._loading(position)
        self._next = None
        item = next(self._items)
        self._next = position + 1
        return item

    def _loading(self, position: int) -> Generator[dict[str, Any], None, None]:
        """A loader's iterator from this position on."""
        length, self._fetch.tokens = len(self.share.numbers), self._tokens()
        items = Planned(self.share, position, max(self.epochs, position // length + 1))
        workers = min(self._num_workers, length)  # more than an epoch needs would only load further ahead
        loader = MicroBatchLoader(self._fetch, items, workers, self._pin_memory)
        self._working = loader.workers > 0
        return iter(loader)
