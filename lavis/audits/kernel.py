"""Kernel two-sample tests on people: how unlike are two samples of pairs, if whole people are shuffled?

    MMD²(P, Q) = E k(x, x') + E k(y, y') − 2 E k(x, y),  k(x, y) = exp(−‖x − y‖² / (2h²)),  h = median distance

Gretton et al., JMLR 2012. The pairs of one person belong together, so the kernel is averaged over each two people first
(`person_kernel`), and expectations are over different people. Everything after that costs O(people²) per permutation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PERMUTATIONS, BOOTSTRAPS = 499, 400
MOST_ROWS = 2000  # for the median distance


@dataclass(frozen=True)
class People:
    """Profiles of pairs, rows (n, F), and the number of the person of each, `who` (n), from 0."""

    rows: np.ndarray
    who: np.ndarray

    @property
    def count(self) -> int:
        return int(self.who.max()) + 1 if len(self.who) else 0

    def take(self, people: np.ndarray) -> People:
        """These people in this order; one who is named twice counts as two."""
        parts = [self.rows[self.who == person] for person in people]
        return People(np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts]))

    def of(self, rows: np.ndarray) -> People:
        """The same people with other profiles."""
        return People(rows, self.who)


def joined(*samples: People) -> People:
    """Several samples as one, people numbered on."""
    starts = np.cumsum([0, *(sample.count for sample in samples)])
    whose = [sample.who + start for sample, start in zip(samples, starts, strict=False)]
    return People(np.concatenate([sample.rows for sample in samples]), np.concatenate(whose))


def person_kernel(sample: People, width: float | None = None) -> np.ndarray:
    """The mean kernel between each two people's pairs, (P, P). width: h; None: the median distance."""
    rows = sample.rows.astype(np.float64)
    if width is None:
        width = median_distance(rows)
    kernel = np.exp(-_squared_distances(rows) / (2 * width**2))
    member = (sample.who[None] == np.arange(sample.count)[:, None]) / np.maximum(np.bincount(sample.who), 1)[:, None]
    return member @ kernel @ member.T


def median_distance(rows: np.ndarray) -> float:
    """The median distance between rows (n, F), of an even selection of them; 1 if all are equal."""
    some = rows[:: max(1, len(rows) // MOST_ROWS + 1)] if len(rows) > MOST_ROWS else rows
    if len(some) < 2:
        return 1.0
    return float(np.sqrt(np.median(_squared_distances(some)[np.triu_indices(len(some), 1)]))) or 1.0


def _squared_distances(rows: np.ndarray) -> np.ndarray:
    """Between each two of rows (n, F), (n, n)."""
    squares = (rows**2).sum(axis=1)
    return np.maximum(squares[:, None] + squares[None] - 2 * rows @ rows.T, 0)


def mmd(kernel: np.ndarray, first: np.ndarray) -> np.ndarray:
    """MMD² of the people marked in `first` and the others, (B,).

    kernel (P, P); first (B, P) bool. Unbiased: nobody is compared with himself.
    """
    own = kernel - np.diag(np.diag(kernel))
    a, b = first.astype(float), (~first).astype(float)
    m, n = a.sum(axis=1), b.sum(axis=1)
    within_a, within_b = ((x @ own * x).sum(axis=1) for x in (a, b))
    across = (a @ own * b).sum(axis=1)
    return within_a / (m * (m - 1)) + within_b / (n * (n - 1)) - 2 * across / (m * n)


def by_chance(seen: float, drawn: np.ndarray) -> float:
    """p: how often chance gives at least as much as was seen, which counts as one of the draws itself."""
    return float((1 + (drawn >= seen - 1e-12).sum()) / (1 + len(drawn)))


def label_test(kernel: np.ndarray, count: int, rng: np.random.Generator, permutations: int = PERMUTATIONS) -> float:
    """p of H0 "the first `count` people are from the same source as the others", by shuffling whole people."""
    labels = np.zeros((1 + permutations, len(kernel)), dtype=bool)
    labels[:, :count] = True
    labels[1:] = rng.permuted(labels[1:], axis=1)
    values = mmd(kernel, labels)
    return by_chance(values[0], values[1:])


def exchange_test(kernel: np.ndarray, people: int, rng: np.random.Generator, permutations: int = PERMUTATIONS) -> float:
    """p of H0 "the first model behaves like the others about each person", by exchanging models within people.

    kernel (M·P, M·P): nodes are (model, person), model by model, the model in question first. In each permutation every
    person's place of the first model is taken by one of the M models at random.
    """
    models = len(kernel) // people
    picked = rng.integers(models, size=(1 + permutations, people))
    picked[0] = 0
    labels = np.zeros((1 + permutations, models, people), dtype=bool)
    np.put_along_axis(labels, picked[:, None, :], True, axis=1)
    values = mmd(kernel, labels.reshape(1 + permutations, -1))
    return by_chance(values[0], values[1:])


def relative_test(near: np.ndarray, far: np.ndarray, count: int, rng: np.random.Generator) -> tuple[float, float]:
    """(MMD² to the far sample − MMD² to the near one, p of H0 "the near one is at least as near").

    near, far: kernels whose first `count` people are the sample in question and whose others are the sample that it
    should resemble and the one that it should not (Bounliphone et al., arXiv 1511.04581; for unlearning Ribero et al.,
    arXiv 2601.19755). p is from a bootstrap over the people of the sample in question.
    """
    times = rng.multinomial(count, np.full(count, 1 / count), size=BOOTSTRAPS)
    gaps = _weighted(far, times, count) - _weighted(near, times, count)
    whole = np.ones((1, count))
    gap = float((_weighted(far, whole, count) - _weighted(near, whole, count))[0])
    return gap, float((1 + (gaps >= 0).sum()) / (1 + BOOTSTRAPS))


def _weighted(kernel: np.ndarray, times: np.ndarray, count: int) -> np.ndarray:
    """MMD² of the first `count` people, each counted `times` (B, count), and the others, (B,)."""
    own = kernel - np.diag(np.diag(kernel))
    a, rest = times.astype(float), own[count:, count:]
    m, n = a.sum(axis=1), len(rest)
    pairs = m**2 - (a**2).sum(axis=1)  # of different people
    within = (a @ own[:count, :count] * a).sum(axis=1) / np.maximum(pairs, 1)
    return within + rest.sum() / (n * (n - 1)) - 2 * (a @ own[:count, count:]).sum(axis=1) / (m * n)


def spread(kernel: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """MMD² of bootstrap draws of the first `count` people against the others, (BOOTSTRAPS,)."""
    return _weighted(kernel, rng.multinomial(count, np.full(count, 1 / count), size=BOOTSTRAPS), count)
