"""Rows of numbers by key, held in a few large blocks: a tensor object of its own for each would double the memory."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch


class RowTable(Mapping[bytes, torch.Tensor]):
    """A mapping of keys to rows (D,) float32, to which blocks of rows are added."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}
        self._blocks: list[torch.Tensor] = []
        self._starts = [0]

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def __getitem__(self, key: bytes) -> torch.Tensor:
        return self.take([key])[0]

    @property
    def width(self) -> int | None:
        """The numbers of a row; None while there is no row."""
        return self._blocks[0].shape[1] if self._blocks else None

    def add(self, keys: Sequence[bytes], rows: torch.Tensor) -> None:
        """Add or replace rows (n, D)."""
        start = self._starts[-1]
        self._places.update(zip(keys, range(start, start + len(rows)), strict=True))
        self._blocks.append(rows.float())
        self._starts.append(start + len(rows))

    def take(self, keys: Sequence[bytes]) -> torch.Tensor:
        """Rows (n, D) of these keys; a view of the block where they follow each other in it. Raises KeyError."""
        places = np.fromiter(map(self._places.__getitem__, keys), np.int64, len(keys))
        block = bisect_right(self._starts, places[0]) - 1
        first, last = int(places[0]) - self._starts[block], int(places[-1]) + 1
        if last <= self._starts[block + 1] and bool((np.diff(places) == 1).all()):
            return self._blocks[block][first : first + len(places)]
        return self._gathered(places)

    def _gathered(self, places: np.ndarray) -> torch.Tensor:
        found = torch.empty(len(places), self._blocks[0].shape[1])
        for block, (start, end) in zip(self._blocks, itertools.pairwise(self._starts), strict=True):
            here = np.flatnonzero((places >= start) & (places < end))
            found[torch.from_numpy(here)] = block[torch.from_numpy(places[here] - start)]
        return found
