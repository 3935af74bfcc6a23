from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.errors import DataError
from lavis.common.seed import derived_seed
from lavis.salmubench.bootstrap import clustered_interval


def test_agrees_with_loops():
    values, people = [0.1, 0.9, 0.4, 0.3, 0.8, 0.2], ["a", "b", "a", "c", "c", "c"]
    times = np.random.default_rng(derived_seed(42, "salmubench", "bootstrap")).multinomial(3, [1 / 3] * 3, size=200)
    means = []
    for drawn in times:
        sample = [
            v for name, n in zip("abc", drawn, strict=True) for _ in range(n) for v, p in pairs(values, people, name)
        ]
        means.append(sum(sample) / len(sample))
    expected = np.quantile(means, [0.025, 0.975])
    np.testing.assert_allclose(clustered_interval(values, people, draws=200), expected, atol=1e-6)


def pairs(values, people, name):
    return [(v, p) for v, p in zip(values, people, strict=True) if p == name]


def test_clusters_widen_the_interval_and_the_seed_fixes_it():
    values = np.repeat(np.random.default_rng(0).normal(size=20), 10)
    people = np.repeat(np.arange(20), 10)
    low, high = clustered_interval(values, people)
    alone = clustered_interval(values, range(200))
    assert high - low > 2 * (alone[1] - alone[0]) and low < values.mean() < high
    assert clustered_interval(values, people) == (low, high) != clustered_interval(values, people, seed=1)


def test_errors():
    with pytest.raises(DataError, match="at least two identities"):
        clustered_interval([0.1, 0.2], ["a", "a"])
    with pytest.raises(DataError, match="not finite"):
        clustered_interval([0.1, float("nan")], ["a", "b"])
    with pytest.raises(ValueError, match="one per cluster label"):
        clustered_interval([0.1], ["a", "b"])


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_lies_within_the_values(values):
    low, high = clustered_interval(values, range(len(values)), draws=50)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
