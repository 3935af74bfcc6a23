"""Plans which rows each training step uses, and the loaders that fetch them.

A plan is a list of global micro-batches and depends only on (seed, epoch) and on how many of them a step takes: A * W
for A accumulated micro-batches and W processes. In optimiser step s, rank r takes the numbers (s * A + a) * W + r for a
in 0..A-1. So W processes without accumulation use the same micro-batches in every step as one process that accumulates
W times.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lavis.common.errors import DataError, MissingFile
from lavis.common.seed import derived_seed
from lavis.common.threads import cpus
from lavis.common.workers import init_worker, signals_blocked
from lavis.datasets.pairs import PairDataset

if TYPE_CHECKING:
    from lavis.models.base import Tokenize

Rows = np.ndarray  # int64 (B,)
Item = tuple[int, int, dict[str, Rows]]  # the epoch, the micro-batch's number in it, the rows of each data set


@dataclass(frozen=True)
class BatchPlan:
    """Micro-batches of an unlearning epoch, each with `half` rows of Df and `half` rows of Dr.

    An epoch is one shuffled pass over Df: every row once. Where Df does not fill the last step, its rows and those of
    the step before are divided evenly among the micro-batches of both, so that none is much smaller than the others
    (`tail_sizes`). Dr is shuffled as well, and reshuffled whenever its complete batches are used up.

    Raises DataError if Df or Dr is smaller than one batch.
    """

    n_df: int
    n_dr: int
    half: int
    seed: int

    def __post_init__(self) -> None:
        _at_least_one_batch("Df", self.n_df, self.half, "half of run.batch_size_train")
        _at_least_one_batch("Dr", self.n_dr, self.half, "half of run.batch_size_train")

    def sizes(self, parts: int = 1) -> list[int]:
        """Rows of each side in every micro-batch, where a step takes `parts` of them."""
        return batch_sizes(self.n_df, self.half, parts)

    def micro_batches(self, epoch: int, parts: int = 1) -> list[tuple[Rows, Rows]]:
        """(rows of Df, rows of Dr) of every global micro-batch of the epoch, in order."""
        sizes = self.sizes(parts)
        forget = np.split(_order(self.n_df, self.seed, "df", epoch), np.cumsum(sizes))[:-1]
        cycles = (_shuffled_batches(self.n_dr, self.half, self.seed, "dr", epoch, c) for c in itertools.count())
        batches = list(itertools.islice(itertools.chain.from_iterable(cycles), len(sizes) + 1))
        retain = [_first(batches, number, size) for number, size in enumerate(sizes)]
        return list(zip(forget, retain, strict=True))


@dataclass(frozen=True)
class SinglePlan:
    """Micro-batches of an epoch over one set: a shuffled pass in batches of `batch`.

    The incomplete last batch is left out, or with `every_row` (a forget set) treated as in `BatchPlan`. Raises
    DataError if the set is smaller than one batch.
    """

    n: int
    batch: int
    seed: int
    every_row: bool = False

    def __post_init__(self) -> None:
        _at_least_one_batch("the training set", self.n, self.batch, "run.batch_size_train")

    def sizes(self, parts: int = 1) -> list[int]:
        """Rows of every micro-batch, where a step takes `parts` of them."""
        if self.every_row:
            return batch_sizes(self.n, self.batch, parts)
        return [self.batch] * (self.n // self.batch)

    def micro_batches(self, epoch: int, parts: int = 1) -> list[Rows]:
        """Rows of every global micro-batch of the epoch, in order."""
        return np.split(_order(self.n, self.seed, "single", epoch), np.cumsum(self.sizes(parts)))[:-1]


def batch_sizes(n: int, size: int, parts: int) -> list[int]:
    """How many of n rows each micro-batch gets, `size` if possible, where a step takes `parts` micro-batches.

    All rows are used. Those that do not fill a step share two steps evenly with those of the step before; or that step,
    where two would leave a micro-batch empty. Fewer rows than one full step are left for `steps_per_epoch` to refuse.
    """
    step = size * parts
    steps, rest = divmod(n, step)
    if steps == 0 or rest == 0:
        return [size] * (n // size)
    last = step + rest
    shares = 2 * parts if last >= 2 * parts else parts
    tail = [last // shares + (i < last % shares) for i in range(shares)]
    return [size] * (parts * (steps - 1)) + tail


def row_weight(sizes: Sequence[int], number: int, parts: int, together: int = 1) -> float:
    """The weight of a micro-batch's loss in its step: its rows over the mean number of rows; 1 in an even step.

    `together`: this many micro-batches, those of all processes at one time, are one batch whose loss each computes.
    """
    first, own = number - number % parts, number - number % together
    step = sizes[first : first + parts]
    return sum(sizes[own : own + together]) / together * len(step) / sum(step)


def steps_per_epoch(micro_batches: int, world: int = 1, accum: int = 1, max_steps: int | None = None) -> int:
    """Optimiser steps of an epoch with this many global micro-batches. An incomplete last step is left out.

    Raises DataError if there is not even one complete step.
    """
    steps = micro_batches // (accum * world)
    if steps == 0:
        raise DataError(
            f"an epoch has {micro_batches} micro-batches, fewer than one step of {world} processes x "
            f"run.accum_grad_iters={accum} needs; lower run.batch_size_train, run.accum_grad_iters or the number of "
            "processes"
        )
    return steps if max_steps is None else min(steps, max_steps)


def micro_numbers(steps: Iterable[int], rank: int, world: int, accum: int) -> list[int]:
    """Numbers of the global micro-batches that this rank takes in these optimiser steps, in order."""
    return [(step * accum + a) * world + rank for step in steps for a in range(accum)]


class Fetch(Dataset):
    """Turns a planned item (epoch, number, {name: rows}) into batches, in the main process or a worker.

    Returns an expected error instead of raising it: torch would wrap it in the worker's traceback. tokens: makes the
    key "tokens" of a batch from its captions, so that this is a worker's work, too.
    """

    def __init__(self, datasets: dict[str, PairDataset], label: str, tokens: Tokenize | None = None) -> None:
        self.datasets, self.label, self.tokens = datasets, label, tokens

    @property
    def in_memory(self) -> bool:
        return all(dataset.in_memory for dataset in self.datasets.values())

    def __getitem__(self, index: Item) -> Any:
        epoch, number, rows = index
        try:
            batches = {name: self._batch(name, indices, epoch) for name, indices in rows.items()}
        except (DataError, MissingFile) as error:
            return error
        return {**batches, self.label: number}

    def _batch(self, name: str, rows: Rows, epoch: int) -> dict[str, Any]:
        batch = self.datasets[name].batch(rows, epoch)
        return batch if self.tokens is None else {**batch, "tokens": self.tokens(batch["captions"])}


class MicroBatchLoader:
    """Iterates over planned items, which it asks for as far ahead as its workers load; `len` is their number.

    Each result is a dict of batches (keys "df", "dr"; see `collate_pairs`) and the number, under the fetch's label.
    DataError and MissingFile of a worker process are raised unchanged. Torch's global random state is not touched.
    There are at most as many workers as CPUs, and none if every image is already in memory.
    """

    def __init__(self, fetch: Fetch, items: Sequence[Any], num_workers: int = 0, pin_memory: bool = False) -> None:
        self.items = items
        self.workers = 0 if fetch.in_memory else min(num_workers, len(items), cpus())
        self._loader = DataLoader(
            fetch,
            batch_size=None,
            sampler=items,
            num_workers=self.workers,
            pin_memory=pin_memory,
            collate_fn=_as_is,
            worker_init_fn=init_worker,
            generator=torch.Generator().manual_seed(0),  # otherwise torch draws a seed from the global state
        )

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Generator[dict[str, Any], None, None]:
        items: Any = None
        try:
            with signals_blocked():
                items = iter(self._loader)  # forks the workers
            for item in items:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            with signals_blocked():  # a second ctrl-C in here would leave a worker, which the process waits for
                end = getattr(items, "_shutdown_workers", None)
                if end is not None:
                    end()


def chunk_count(n: int, batch: int) -> int:
    """Number of canonical chunks of `batch` consecutive rows that cover n rows; the last may be shorter."""
    return -(-n // batch)


class EvalLoader:
    """Collated batches of canonical chunks, each with its number under "chunk"."""

    def __init__(self, loader: MicroBatchLoader) -> None:
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for item in self._loader:
            yield {**item["rows"], "chunk": item["chunk"]}


def eval_loader(
    dataset: PairDataset,
    batch: int,
    num_workers: int = 0,
    chunks: Iterable[int] | None = None,
    *,
    pin_memory: bool = False,
    epoch: int = 0,
) -> EvalLoader:
    """Load the given chunks of `batch` consecutive rows (all if None), in this order, as they are in this epoch.

    Chunk c is rows c * batch to (c + 1) * batch, for any number of processes. Items also have the key "chunk".
    """
    total = chunk_count(len(dataset), batch)
    numbers = list(range(total) if chunks is None else chunks)
    if any(not 0 <= c < total for c in numbers):
        raise IndexError(f"chunk numbers must lie in 0..{total - 1}, got {numbers}")
    items = [(epoch, c, {"rows": np.arange(c * batch, min(len(dataset), (c + 1) * batch))}) for c in numbers]
    return EvalLoader(MicroBatchLoader(Fetch({"rows": dataset}, "chunk"), items, num_workers, pin_memory))


def _as_is(item: Any) -> Any:
    return item


def _order(n: int, *key: Any) -> Rows:
    """A permutation of range(n), seeded by `key`."""
    return np.random.default_rng(derived_seed(*key)).permutation(n)


def _first(batches: Sequence[Rows], number: int, size: int) -> Rows:
    """The first `size` rows of a batch; where it has fewer (batches of one row), the next one's too."""
    short = size > len(batches[number])
    return np.concatenate(batches[number : number + 2])[:size] if short else batches[number][:size]


def _shuffled_batches(n: int, size: int, *key: Any) -> Iterator[Rows]:
    """The complete batches of a permutation of range(n), seeded by `key`."""
    order = _order(n, *key)
    return (order[start : start + size].copy() for start in range(0, n - size + 1, size))


def _at_least_one_batch(name: str, n: int, size: int, key: str) -> None:
    if size < 1:
        raise DataError(f"a batch needs at least one row of {name}; raise run.batch_size_train")
    if n < size:
        less = f"{name} is smaller than one batch: {n} rows, a batch takes {size} ({key})"
        raise DataError(f"{less}; lower run.batch_size_train")
