"""MRR among all captions about people: with the own identity's other captions in the way, and without them (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lavis.common.errors import DataError
from lavis.evaluation.inputs import TIE, paired_rows, unit_rows

BLOCK = 256


class CaptionPool:
    """Distinct captions, and who is described by each.

    captions and owners (identity labels) run side by side; a caption given several times has all its owners.
    `texts` lists the distinct ones, in the order in which `pool_ranks` expects their rows.
    """

    def __init__(self, captions: Sequence[str], owners: Sequence[str]) -> None:
        self.number: dict[str, int] = {}
        self.people: dict[str, set[int]] = {}
        for caption, owner in zip(captions, owners, strict=True):
            number = self.number.setdefault(caption, len(self.number))
            self.people.setdefault(owner, set()).add(number)

    @property
    def texts(self) -> list[str]:
        return list(self.number)

    def mask(self, owners: Sequence[str]) -> np.ndarray:
        """Which captions belong to each of these people, (n, m) bool."""
        found = np.zeros((len(owners), len(self.number)), dtype=bool)
        for row, owner in enumerate(owners):
            found[row, list(self.people.get(owner, ()))] = True
        return found


def pool_ranks(
    image: Any, text: Any, captions: Sequence[str], owners: Sequence[str], pool: CaptionPool, rows: Any, *, own: bool
) -> np.ndarray:
    """Rank (1 is first) of every true caption among a pool of distinct captions, (n,) float64, by cosine.

    image (n, D), text (n, D), captions and owners (n each): the queries, paired; rows (m, D): the pool's. The
    caption's own string never competes with it; with own=False neither does any caption of the query's identity
    (project's own study; the usual MRR saturates where a person's captions compete). A tie counts as lost.

    Raises DataError on collapsed embeddings or ones that are not finite, and when nothing competes; ValueError on
    shapes.
    """
    images, texts = paired_rows(image, text, "caption pool")
    others = unit_rows(rows, "caption pool texts")
    if len(others) != len(pool.number):
        raise ValueError(f"the pool has {len(pool.number)} captions, got {len(others)} rows")
    ranks = np.empty(len(images))
    for start in range(0, len(images), BLOCK):
        part = slice(start, start + BLOCK)
        score = (images[part] * texts[part]).sum(axis=1, keepdims=True)
        rivals = np.ones((len(score), len(others)), dtype=bool) if own else ~pool.mask(owners[part])
        for row, caption in enumerate(captions[part]):
            if caption in pool.number:
                rivals[row, pool.number[caption]] = False
        if not rivals.any(axis=1).all():
            raise DataError("caption pool: a caption has no other person's caption to compete with")
        ranks[part] = 1 + ((images[part] @ others.T >= score - TIE) & rivals).sum(axis=1)
    return ranks
