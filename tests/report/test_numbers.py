"""Derived numbers, axes and label places of the report, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.evaluation.metric import Column
from lavis.report.cells import best_methods
from lavis.report.columns import report_columns
from lavis.report.curves import loss_curves, mean_points
from lavis.report.labels import leader, place_labels
from lavis.report.numbers import derive, mean_of, names_of, shown, spread_of, target_name
from lavis.report.palette import looks
from lavis.report.standing import with_derived
from lavis.report.svg import nice_ticks, outline, tick_label
from tests.report.rows import row, rows


def test_way_to_the_target() -> None:
    """(0.9 − 0.25) / (0.9 − 0.2) = 92.857 %; the gap is 0.25 − 0.2; erase went (0.9 − 0.1) / 0.7 = 114.3 %."""
    found = {one["name"]: one["derived"] for one in with_derived(rows())}
    assert found["vlul"]["forgotten_percent"] == pytest.approx(92.857143)
    assert found["vlul"]["df_gap"] == pytest.approx(0.05)
    assert found["erase"]["forgotten_percent"] == pytest.approx(114.285714)
    assert found["compromised"]["forgotten_percent"] == 0
    assert found["retrained"]["forgotten_percent"] == 100
    assert found["retrained"]["target_distance"] == 0


def test_distance_is_over_all_splits() -> None:
    """|0.25 − 0.2| on df and |0.1 − 0.8| on one holdout, 0 on three: mean 0.15."""
    one = row("vlul", holdout_identity_cosine=0.1)
    assert derive(one, rows("retrained"))["target_distance"] == pytest.approx(0.15)


def test_kept_recall_is_the_mean_of_both_directions() -> None:
    """(30 + 10) / (40 + 40) = 50 %."""
    assert derive(row("vlul", dr_txt_r1=30.0, dr_img_r1=10.0), rows("compromised"))["dr_kept_percent"] == 50


def test_without_references_nothing_is_derived() -> None:
    assert derive(row("vlul"), [row("vlul")]) == {}
    same = [row("compromised", df_cosine=0.2), row("retrained")]
    assert "forgotten_percent" not in derive(row("vlul"), same)
    silent = [row("compromised", dr_txt_r1=0.0, dr_img_r1=0.0)]
    assert "dr_kept_percent" not in derive(row("vlul"), silent)


def test_clean_is_the_target_where_nothing_was_retrained() -> None:
    assert target_name(rows("clean", "compromised")) == "clean"
    assert target_name(rows("vlul")) is None


def test_seeds_are_averaged() -> None:
    found = [row("vlul", seed, df_cosine=value) for seed, value in ((1, 0.1), (2, 0.3), (3, math.nan))]
    assert mean_of(found, "df_cosine") == pytest.approx(0.2)
    assert spread_of(found, "df_cosine") == pytest.approx(0.1 * math.sqrt(2))
    assert spread_of(found[:1], "df_cosine") is None


def test_references_come_first_and_looks_do_not_change_with_them() -> None:
    names = names_of(rows("vlul", "retrained", "erase", "compromised"))
    assert names == ["compromised", "retrained", "vlul", "erase"]
    assert looks(names)["vlul"] == looks(["vlul", "erase"])["vlul"]
    assert len({(look.colour, look.shape) for look in looks([f"m{i}" for i in range(35)]).values()}) == 35


def test_numbers_for_people() -> None:
    assert [shown(value, 2) for value in (-0.004, 0.0, -0.25, 1.005, 12.0)] == [
        "0.00",
        "0.00",
        "−0.25",
        "1.00",
        "12.00",
    ]


def column(key: str) -> Column:
    return next(one for one in report_columns() if one.key == key)


def test_best_method_per_column() -> None:
    found = with_derived(rows())
    assert best_methods(found, column("df_cosine")) == {"vlul"}
    assert best_methods(found, column("forgotten_percent")) == {"vlul"}
    assert best_methods(found, column("dr_cosine")) == {"vlul", "erase", "delete"}
    assert best_methods(with_derived(rows("vlul", "retrained")), column("df_cosine")) == set()


@settings(deadline=None, max_examples=100)
@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(2, 8))
def test_ticks_cover_the_range_in_equal_steps(low: float, width: float, count: int) -> None:
    ticks = nice_ticks(low, low + width, count)
    room = 1e-6 * max(1.0, abs(low), width)
    assert ticks[0] <= low + room and ticks[-1] >= low + width - room
    assert 2 <= len(ticks) <= 2 * count + 3
    steps = [b - a for a, b in zip(ticks, ticks[1:], strict=False)]
    assert max(steps) - min(steps) <= room


def test_ticks_and_their_labels() -> None:
    assert nice_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(5, 5)[0] < 5 < nice_ticks(5, 5)[-1]
    assert [tick_label(v) for v in (0.0, -0.25, 100.0)] == ["0", "−0.25", "100"]
    with pytest.raises(ValueError, match="finite"):
        nice_ticks(0, math.inf)


def test_names_of_near_points_do_not_overlap() -> None:
    points = [(100.0, 100.0, "compromised"), (104.0, 103.0, "retrained"), (97.0, 98.0, "vlul")]
    spots = place_labels(points, (0, 0, 400, 300))
    assert len({(round(x / 10), round(y / 10)) for x, y, _ in spots}) == 3
    (edge,) = place_labels([(395.0, 100.0, "compromised")], (0, 0, 400, 300))
    assert edge[2] == "end"


@pytest.mark.parametrize("shape", ["star", "diamond", "square", "triangle", "wedge", "pentagon"])
def test_markers_stay_about_their_point(shape: str) -> None:
    corners = outline(shape)
    assert abs(sum(x for x, _ in corners)) < 1e-9
    assert all(0.5 < math.hypot(x, y) < 1.5 for x, y in corners)


def test_curves_of_one_epoch_many_terms_or_none() -> None:
    assert loss_curves("x", []) is None and loss_curves("x", [{"loss": []}]) is None
    assert loss_curves("x", [{"loss": [(0.0, 1.0)]}]) is not None
    many = {f"term{i}": [(0.0, 0.0), (1.0, 1e-9 * i)] for i in range(9)}
    plot = loss_curves("x", [many])
    assert plot is not None and plot.count("<polyline") == 9
    seeds = loss_curves("x", [many, many])
    assert seeds is not None and seeds.count("<polyline") == 27


def test_the_mean_line_is_over_shared_places() -> None:
    assert mean_points([[(0.0, 1.0), (1.0, 3.0)], [(0.0, 2.0)], []]) == [(0.0, 1.5)]
    assert mean_points([]) == []


def test_a_name_far_from_its_point_gets_a_line() -> None:
    assert leader((100.0, 100.0, "ab"), (113.0, 104.0, "start")) is None
    ends = leader((100.0, 100.0, "ab"), (200.0, 104.0, "start"))
    assert ends is not None and ends[0] == pytest.approx(109.0) and ends[2] == 200.0
