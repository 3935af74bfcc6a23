"""Long sequences in pieces: millions of names or rows are looked at some at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
PIECE = 2**14


def pieces(items: Iterable[T], size: int = PIECE) -> Iterator[list[T]]:
    """Consecutive items in lists of `size`; the last may be shorter."""
    rest = iter(items)
    while part := list(itertools.islice(rest, size)):
        yield part
