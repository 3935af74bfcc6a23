"""MRR among all captions about people (ours): X without the own identity's other captions, pool MRR with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lavis.common.errors import DataError
from lavis.common.registry import registry
from lavis.datasets.builder import HOLDOUTS
from lavis.evaluation.context import Context
from lavis.evaluation.inputs import TIE, UnitRows, paired_rows
from lavis.evaluation.metric import DISTANCE, HEADLINE, Column
from lavis.salmubench.data import UNSEEN, BenchmarkData
from lavis.salmubench.metric import PREFIX, Numbers, SalmuMetric, people_column, people_of, summarised
from lavis.salmubench.splits import identity_of

BLOCK = 1024  # images ranked at a time
TILE = 8192  # captions of the pool that they are compared with at a time: 64 MiB of scores
ABSENT = -1  # column of a caption that is not in the pool
PEOPLE = ("forget", *HOLDOUTS)


class IdentityMrr(SalmuMetric):
    """Both kinds of MRR of one split of people."""

    split = PEOPLE[0]
    order = 112

    def values(self, data: BenchmarkData) -> Numbers:
        suffix = "" if self.split == PEOPLE[0] else f"_{self.split}"
        part, pool = data.part(self.split), data.context.shared(caption_pool)
        rows, people = data.texts(pool.texts, "caption pool"), people_of(part, self.split)
        ranks = pool_ranks(part.image, part.text, part.captions, people, pool, rows)
        apart = summarised(data, part, f"x_mrr{suffix}", 1 / ranks.apart)
        return apart | summarised(data, part, f"pool_mrr{suffix}", 1 / ranks.among)


def _pool_column(name: str = "", title: str = "") -> Column:
    help = "MRR among all persona captions"
    return Column(f"{PREFIX}pool_mrr{name}", f"pool MRR{title}", help, groups=(), uses=(DISTANCE,))


@registry.register_metric("identity_mrr")
class ForgetMrr(IdentityMrr):
    """Of the forget set."""

    columns = (
        people_column(
            *("x_mrr", "X", "MRR among all persona captions, own identity's other captions left out", 10),
            uses=(DISTANCE, HEADLINE),
        ),
        people_column("x_mrr_whole", "X whole", "X of identities whose every sensitive image is to be forgotten", 20),
        people_column("x_mrr_partial", "X partial", "X of identities of whom only some images are to be forgotten", 30),
        _pool_column(),
    )


@registry.register_metric("identity_mrr_holdout_identity")
class OtherPeopleMrr(IdentityMrr):
    """Of people who are not in the forget set."""

    split = PEOPLE[1]
    columns = (
        people_column(
            *("x_mrr_holdout_identity", "X other people", "X of people who are not in the forget set", 40),
            uses=(DISTANCE,),
        ),
        _pool_column("_holdout_identity", " other people"),
    )


@registry.register_metric("identity_mrr_holdout_association")
class OtherFactsMrr(IdentityMrr):
    """Of other facts about the forgotten people."""

    split = PEOPLE[2]
    columns = (
        people_column(
            *("x_mrr_holdout_association", "X other facts", "X of other facts about the forgotten people", 50),
            uses=(DISTANCE,),
        ),
        _pool_column("_holdout_association", " other facts"),
    )


class CaptionPool:
    """Distinct captions, and the people whom each describes.

    Args: captions, and the owner (identity label) of each; a repeated caption has all its owners. `texts` lists the
    distinct captions in the order of the rows for `pool_ranks`.
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
        mask = np.zeros((len(owners), len(self.number)), dtype=bool)
        for row, owner in enumerate(owners):
            mask[row, list(self.people.get(owner, ()))] = True
        return mask


@dataclass(frozen=True, slots=True)
class PoolRanks:
    """Ranks of n true captions, (n,) float64, 1 is first: among all others of the pool, and apart from their people's.

    In `apart`, no caption of the query's identity competes (our own study: if a person's captions compete, the usual
    MRR saturates).
    """

    among: np.ndarray
    apart: np.ndarray


def pool_ranks(
    image: Any, text: Any, captions: Sequence[str], owners: Sequence[str], pool: CaptionPool, rows: Any
) -> PoolRanks:
    """Rank each true caption among a pool of distinct captions by cosine; a tie is lost.

    image (n, D), text (n, D), captions and owners (n each) are the paired queries; rows (m, D) those of the pool. The
    caption itself never competes.

    Raises DataError if embeddings are collapsed or not finite, or if a query has no other person's caption to compete
    with; ValueError on shapes.
    """
    images, texts = paired_rows(image, text, "caption pool")
    others = UnitRows(rows, "caption pool texts")
    if len(others) != len(pool.number):
        raise ValueError(f"the pool has {len(pool.number)} captions, got {len(others)} rows")
    ranks = PoolRanks(np.ones(len(images)), np.ones(len(images)))
    for start in range(0, len(images), BLOCK):
        part = slice(start, start + BLOCK)
        above = _Above(captions[part], owners[part], pool)
        queries = images[part]
        least = (queries * texts[part]).sum(axis=1, keepdims=True) - TIE
        for first in range(0, len(others), TILE):
            above.count(queries @ others[first : first + TILE].T >= least, first)
        ranks.among[part] += above.among
        ranks.apart[part] += above.among - above.own
    return ranks


class _Above:
    """Counts, for a block of queries, the captions that score at least as high: of all people, and of their own.

    Counting own captions, of which there are few, and subtracting them needs no mask as large as the pool.
    """

    def __init__(self, captions: Sequence[str], owners: Sequence[str], pool: CaptionPool) -> None:
        itself = [pool.number.get(caption, ABSENT) for caption in captions]
        own = [pool.people.get(owner, frozenset()) for owner in owners]
        if any(len((mine | {column}) - {ABSENT}) == len(pool.number) for mine, column in zip(own, itself, strict=True)):
            raise DataError("caption pool: a caption has no other person's caption to compete with")
        self.among, self.own = np.zeros((2, len(captions)), dtype=np.int64)
        self._itself = _places((column, row) for row, column in enumerate(itself))
        self._others = _places((column, row) for row, mine in enumerate(own) for column in mine)

    def count(self, above: np.ndarray, first: int) -> None:
        """Add a tile: `above` (queries, captions) bool, which is overwritten, of the captions from `first` on."""
        above[_within(self._itself, first, above.shape[1])] = False
        self.among += above.sum(axis=1)
        rows, columns = _within(self._others, first, above.shape[1])
        self.own += np.bincount(rows, weights=above[rows, columns], minlength=len(above)).astype(np.int64)


def _places(pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """(column, row) pairs as (2, k) int64, sorted by column."""
    places = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return places.T


def _within(places: np.ndarray, first: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and columns counted from `first`, of the places in a tile."""
    low, high = np.searchsorted(places[0], (first, first + width))
    return places[1, low:high], places[0, low:high] - first


def caption_pool(context: Context) -> CaptionPool:
    """All distinct captions of forget, the holdouts and, if the data set has them, unseen personas."""
    data = context.shared(BenchmarkData)
    captions: list[str] = []
    owners: list[str] = []
    for split in PEOPLE:
        own, entries = data.captions(split)
        captions += own
        owners += [identity_of(entry, split) for entry in entries]
    if data.has(UNSEEN):
        for key, own in data.json(UNSEEN)["captions"].items():
            captions += own
            owners += [f"unseen {key}"] * len(own)
    return CaptionPool(captions, owners)
