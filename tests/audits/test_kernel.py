"""MMD² against loops, and the size and power of the tests: 200 repetitions on synthetic profiles."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.audit_test import people
from lavis.audits.kernel import (
    People,
    exchange_test,
    joined,
    label_test,
    median_distance,
    mmd,
    person_kernel,
    relative_test,
)

PEOPLE = 12


def small(draws, shift=0.0, count=PEOPLE):
    return People(draws.standard_normal((3 * count, 2)) + shift, np.repeat(np.arange(count), 3))


def test_person_kernel_and_mmd_by_loops():
    draws = np.random.default_rng(0)
    first, second = small(draws, count=3), small(draws, 1.0, count=4)
    both = joined(first, second)
    width = median_distance(both.rows)

    def k(p, q):
        pairs = [(x, y) for x in both.rows[both.who == p] for y in both.rows[both.who == q]]
        return np.mean([np.exp(-((x - y) ** 2).sum() / (2 * width**2)) for x, y in pairs])

    a, b = range(3), range(3, 7)
    by_hand = np.mean([k(p, q) for p in a for q in a if p != q]) + np.mean([k(p, q) for p in b for q in b if p != q])
    by_hand -= 2 * np.mean([k(p, q) for p in a for q in b])
    assert mmd(person_kernel(both), np.arange(7)[None] < 3)[0] == pytest.approx(by_hand)


def test_median_distance_by_hand():
    assert median_distance(np.array([[0.0], [1.0], [3.0]])) == 2.0  # of 1, 2, 3
    assert median_distance(np.zeros((3, 1))) == 1.0
    assert median_distance(np.zeros((1, 1))) == 1.0


def test_people_taken_twice_count_as_two():
    taken = small(np.random.default_rng(0)).take(np.array([2, 2]))
    assert taken.count == 2 and np.array_equal(taken.rows[:3], taken.rows[3:])


def alarms(shift, test, repetitions=200):
    return np.mean([test(np.random.default_rng([5, n]), shift) for n in range(repetitions)])


def control(draws, shift):
    kernel = person_kernel(joined(small(draws, shift), small(draws)))
    return label_test(kernel, PEOPLE, draws, 99) <= 0.05


def exchange(draws, shift):
    base = small(draws)
    samples = [base.of(base.rows + 0.5 * draws.standard_normal(base.rows.shape)) for _ in range(4)]
    samples[0] = samples[0].of(samples[0].rows + shift)
    return exchange_test(person_kernel(joined(*samples)), PEOPLE, draws, 99) <= 0.05


@pytest.mark.parametrize("test", [control, exchange])
def test_size_and_power(test):
    assert abs(alarms(0.0, test) - 0.05) <= 0.03
    assert alarms(1.0, test, 40) >= 0.95


def test_people_whose_pairs_belong_together_raise_no_alarm():
    """The pairs of a person share a part, so that 20 pairs are not 20 witnesses."""
    found = []
    for number in range(60):
        draws = np.random.default_rng([9, number])
        found.append(label_test(person_kernel(joined(people(draws), people(draws))), 21, draws, 99) <= 0.05)
    assert np.mean(found) <= 0.12


@pytest.mark.parametrize(("shift", "nearer"), [(0.2, True), (2.8, False)])
def test_relative_test_says_which_is_nearer(shift, nearer):
    draws = np.random.default_rng(1)
    sample, near, far = small(draws, shift), small(draws), small(draws, 3.0)
    width = median_distance(joined(sample, near, far).rows)
    gap, p = relative_test(*(person_kernel(joined(sample, other), width) for other in (near, far)), PEOPLE, draws)
    assert (gap > 0) is nearer
    assert (p > 0.05) is nearer
