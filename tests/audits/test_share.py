"""The number of an attack by hand, its interval by person, p-values and Holm's adjustment."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lavis.audits.attack import Reading
from lavis.audits.share import holm, p_value, share_of


def reading(means, pairs=10, control=None):
    count = np.full(len(means), float(pairs))
    more = () if control is None else (np.array(control) * pairs, np.full(len(control), float(pairs)))
    return Reading(np.array(means) * count, count, *more)


def sums(means, pairs=10):
    one = reading(means, pairs)
    return one.total, one.count


def test_share_by_hand():
    # attacked (.4 + .6)/2 = .5, floor .1, original .9: (.5 − .1)/(.9 − .1) = .5
    one = share_of("v", reading([0.4, 0.6]), sums([0.1, 0.1]), sums([0.9, 0.9]), 42, paired=True)
    assert one.share == pytest.approx(0.5)
    # draws of two people give .4, .5 or .6 of attacked: shares .375 and .625 at the ends
    assert (one.low, one.high) == (pytest.approx(0.375), pytest.approx(0.625))
    assert (one.attacked, one.floor, one.original) == (0.5, pytest.approx(0.1), pytest.approx(0.9))


@pytest.mark.parametrize(("value", "share"), [(0.1, 0.0), (0.9, 1.0)])
def test_the_ends_of_the_scale(value, share):
    assert share_of("v", reading([value] * 3), sums([0.1] * 3), sums([0.9] * 3), 42, True).share == pytest.approx(share)


def test_people_with_more_pairs_count_more():
    attacked = Reading(np.array([9.0, 0.0]), np.array([9.0, 1.0]))
    assert share_of("v", attacked, sums([0, 0]), sums([1, 1]), 42, True).share == pytest.approx(0.9)


def test_no_share_without_original_floor_or_knowledge():
    assert math.isnan(share_of("v", reading([0.5, 0.5]), sums([0, 0]), None, 42, True).share)
    assert math.isnan(share_of("v", reading([0.5, 0.5]), None, sums([1, 1]), 42, True).share)
    assert math.isnan(share_of("v", reading([0.5, 0.5]), sums([0.5, 0.5]), sums([0.51, 0.51]), 42, True).share)


def test_gain_over_fresh_people():
    one = share_of("v", reading([0.5, 0.7], control=[0.1, 0.2, 0.3]), None, None, 42, paired=False)
    assert one.gain == pytest.approx(0.6 - 0.2)
    assert one.gain_low < one.gain < one.gain_high


def test_interval_covers_the_truth():
    """95 % intervals of 40 people's mean contain it in most of 60 samples."""
    hits = 0
    for number in range(60):
        draws = np.random.default_rng(number)
        one = share_of("v", reading(draws.normal(0.3, 0.2, 40)), sums([0] * 40), sums([1] * 40), number, True)
        hits += one.low <= 0.3 <= one.high
    assert hits >= 52


def test_p_of_a_clear_difference_is_small_and_of_none_is_not():
    draws = np.random.default_rng(0)
    floor = {"v": reading(draws.normal(0.1, 0.05, 21))}
    assert p_value({"v": reading(draws.normal(0.5, 0.05, 21))}, floor, 42) <= 0.001
    assert p_value(floor, floor, 42) == 1.0
    alike = [p_value({"v": reading(draws.normal(0.1, 0.05, 21))}, {"v": reading(draws.normal(0.1, 0.05, 21))}, n)
             for n in range(100)]  # fmt: skip
    assert np.mean(np.array(alike) <= 0.05) <= 0.1


def test_p_against_the_control():
    draws = np.random.default_rng(0)
    alike, other = draws.normal(0, 1, (2, 21)), draws.normal(0, 1, 21)
    assert p_value({"v": reading(alike[0], control=alike[1])}, None, 42) > 0.05
    assert p_value({"v": reading(other + 3, control=alike[1])}, None, 42) <= 0.001
    assert math.isnan(p_value({"v": reading(other)}, None, 42))


def test_many_variants_cost_no_false_alarms():
    """With 10 variants without effect, p stays above 5 % in about 95 % of 100 samples."""
    alarms = 0
    for number in range(100):
        draws = np.random.default_rng([3, number])
        found = {str(v): reading(draws.normal(0, 1, 15)) for v in range(10)}
        floor = {name: reading(np.zeros(15)) for name in found}
        alarms += p_value(found, floor, number) <= 0.05
    assert alarms <= 12


def test_holm_by_hand():
    # sorted .01 · 3 = .03, .02 · 2 = .04, .04 · 1 = .04
    found = holm({"a": 0.04, "b": 0.01, "c": 0.02, "d": math.nan})
    assert {name: found[name] for name in "abc"} == pytest.approx({"a": 0.04, "b": 0.03, "c": 0.04})
    assert math.isnan(found["d"])
