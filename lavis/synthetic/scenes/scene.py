"""What a scene shows: groups of equal objects in columns, and possibly a board that hides one column."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PLACES = ("left", "middle", "right")
COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "triangle")
COUNTS = (1, 2, 3)
WORDS = ("zero", "one", "two", "three")


@dataclass(frozen=True, slots=True)
class Group:
    """`count` objects of one shape and colour in one column."""

    place: str
    colour: str
    shape: str
    count: int

    @property
    def phrase(self) -> str:
        """The group in words, without its place: "two red circles"."""
        return f"{WORDS[self.count]} {self.colour} {self.shape}{'s' if self.count > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Scene:
    """Groups from left to right; `hidden` is the column behind the board, if there is one."""

    groups: tuple[Group, ...]
    hidden: str | None = None


def where(place: str) -> str:
    """The place in words: "on the left", "in the middle"."""
    return f"in the {place}" if place == "middle" else f"on the {place}"


def two_groups(board: bool) -> Iterator[Scene]:
    """All 1,944 scenes of two groups that differ in shape and in colour.

    The third column is empty, or hidden if there is a board.
    """
    looks = itertools.product(itertools.permutations(COLOURS, 2), itertools.permutations(SHAPES, 2))
    for (colours, shapes), counts, third in itertools.product(looks, itertools.product(COUNTS, repeat=2), PLACES):
        places = [place for place in PLACES if place != third]
        groups = tuple(Group(*facts) for facts in zip(places, colours, shapes, counts, strict=True))
        yield Scene(groups, third if board else None)


def one_group() -> Iterator[Scene]:
    """All 108 scenes of a single group."""
    for facts in itertools.product(PLACES, COLOURS, SHAPES, COUNTS):
        yield Scene((Group(*facts),))


def distinct_scenes(count: int, board: bool, rng: np.random.Generator) -> list[Scene]:
    """`count` different scenes of two groups in random order."""
    scenes = list(two_groups(board))
    return [scenes[i] for i in rng.permutation(len(scenes))[:count]]
