"""Bootstrap intervals by person, because the values of one person's pairs are correlated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lavis.common.errors import DataError
from lavis.common.seed import derived_seed

DRAWS = 1000
LEVEL = 0.95
COUNTS = 2**22  # counts of drawn clusters in memory at a time


def clustered_interval(values: Any, clusters: Sequence[Any], draws: int = DRAWS, seed: int = 42) -> tuple[float, float]:
    """95 % percentile interval of the mean of values (n,), drawing whole clusters (n labels) with replacement.

    Each draw takes as many clusters as there are and averages all their values; the seed fixes the draws. Raises
    DataError for values that are not finite and for fewer than two clusters, ValueError on shapes.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (len(clusters),):
        raise ValueError(f"values must be {len(clusters)} numbers, one per cluster label, got shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise DataError("bootstrap: values that are not finite have no interval; check the embeddings")
    _, group = np.unique(np.asarray([str(label) for label in clusters]), return_inverse=True)
    size = np.bincount(group)
    if len(size) < 2:
        raise DataError(f"bootstrap: an interval needs at least two identities, there are {len(size)}")
    total = np.bincount(group, weights=numbers)
    rng = np.random.default_rng(derived_seed(seed, "salmubench", "bootstrap"))
    shares, block = np.full(len(size), 1 / len(size)), max(1, COUNTS // len(size))
    means = []
    for start in range(0, draws, block):  # one draw after the other from the same generator, however they are cut
        times = rng.multinomial(len(size), shares, size=min(block, draws - start))
        means.append((times @ total) / (times @ size))
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
