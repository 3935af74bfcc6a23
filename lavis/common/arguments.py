"""Numbers on command lines: one type for each kind, so that no command takes a number that it cannot use."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

N = TypeVar("N", int, float)
LARGEST = 2**31 - 1  # of counts: more rows, jobs or steps than anybody has


def whole(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """A type for argparse: whole numbers from `least` to `most`."""
    return _within(int, "a whole number", least, most)


def decimal(least: float, most: float) -> Callable[[str], float]:
    """A type for argparse: numbers from `least` to `most`; never nan."""
    return _within(float, "a number", least, most)


def _within(kind: type[N], words: str, least: N, most: N) -> Callable[[str], N]:
    def read(text: str) -> N:
        try:
            value = kind(text)
            if least <= value <= most:
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"expected {words} from {least} to {most}, found '{text:.40}'")

    return read


COUNT = whole(1)
COUNT_OR_NONE = whole(0)
JOBS = whole(1, 1024)  # at a time
SEED = whole(0, 2**32 - 1)  # NumPy's range
SHARE = decimal(0.0, 1.0)
SECONDS = decimal(0.01, 86_400.0)
MINUTES = decimal(0.0, 10_080.0)
