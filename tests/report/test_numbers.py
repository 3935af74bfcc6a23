"""Derived numbers, axes and label places of the report, against values worked out by hand."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import rc_context

from lavis.evaluation.metric import Column
from lavis.report.cells import best_methods
from lavis.report.columns import report_columns
from lavis.report.labels import boxes_of, overlaps, place_labels, spread_out
from lavis.report.numbers import derive, mean_of, names_of, shown, spread_of, target_name
from lavis.report.palette import looks
from lavis.report.plots import bars, loss_curves, mean_points, tick_label
from lavis.report.standing import with_derived
from lavis.report.text import short
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


def test_tick_labels() -> None:
    assert [tick_label(v) for v in (0.0, -0.25, 100.0)] == ["0", "−0.25", "100"]


def test_names_of_near_points_do_not_overlap() -> None:
    points, widths = np.array([(100.0, 100.0), (104.0, 103.0), (97.0, 98.0)]), [80.0, 60.0, 25.0]
    spots = place_labels(points, widths, 14.0, (0, 0, 400, 300))
    boxes = np.vstack([boxes_of([spot], *place, 14.0) for spot, *place in zip(spots, points, widths, strict=True)])
    assert np.triu(overlaps(boxes, boxes), 1).max() == 0
    (edge,) = place_labels(np.array([(395.0, 100.0)]), [80.0], 14.0, (0, 0, 400, 300))
    assert edge.left == 1 and not edge.far


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0, 300), min_size=1, max_size=20))
def test_line_names_are_spread_out_in_their_order(heights: list[float]) -> None:
    moved = spread_out(np.array(heights), 14.0, 0.0, 300.0)
    order = np.argsort(heights, kind="stable")
    assert np.all(np.diff(moved[order]) >= 14 - 1e-6)
    assert moved.min() >= -1e-6 and moved.max() <= 300 + 1e-6
    assert spread_out(np.array([50.0]), 14.0, 0.0, 300.0).tolist() == [50.0]


def test_bars_name_every_model_and_say_its_value() -> None:
    plot = bars(rows("compromised", "clean", seeds=(1, 2)), "df_cosine", "forget set", (0.0, 1.0))
    assert plot is not None and plot.startswith('<svg class="plot"') and 'role="img"' in plot
    assert 'aria-label="forget set, by model. compromised 0.900 ± 0.000 over 2 seeds; clean 0.100' in plot
    assert ">compromised</text>" in plot and ">0.100</text>" in plot
    assert bars(rows("vlul"), "no_such", "t", (0.0, 1.0)) is None


def test_plots_refer_to_nothing_and_do_not_change() -> None:
    """Figures share a page: no ids, no links; the same rows give the same bytes."""
    first, second = (bars(rows(), "df_cosine", "forget set", (0.0, 1.0)) for _ in range(2))
    assert first == second and first is not None
    assert not re.search(r"\bid=|href|url\(|<style|<metadata", first)
    assert not re.search(r"#[0-9a-f]{6}", first)  # the page's variables alone, so that dark mode works
    with rc_context({"axes.titlecolor": "red", "lines.linewidth": 9, "grid.alpha": 0.1}):  # a user's matplotlibrc
        assert bars(rows(), "df_cosine", "forget set", (0.0, 1.0)) == first


@settings(deadline=None, max_examples=25)
@given(st.text(max_size=40))
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_name_can_be_drawn(name: str) -> None:
    plot = loss_curves(name, [{name: [(0.0, 1.0), (1.0, 0.5)], "$x^2$": [(0.0, 1.0)]}])
    assert plot is not None
    texts = {short(text) for text in ElementTree.fromstring(plot).itertext()}  # noqa: S314 - written by this test
    assert {"$x^2$", short(name)} <= texts | {""}


def test_curves_of_one_epoch_many_terms_or_none() -> None:
    assert loss_curves("x", []) is None and loss_curves("x", [{"loss": []}]) is None
    assert loss_curves("x", [{"loss": [(0.0, 1.0)]}]) is not None
    many = {f"term{i}": [(0.0, 0.0), (1.0, 1e-9 * i)] for i in range(9)}
    plot = loss_curves("x", [many])
    assert plot is not None and plot.count("opacity") == 0
    seeds = loss_curves("x", [many, many])
    assert seeds is not None and seeds.count("stroke-opacity") == 18


def test_the_mean_line_is_over_shared_places() -> None:
    assert mean_points([[(0.0, 1.0), (1.0, 3.0)], [(0.0, 2.0)], []]) == [(0.0, 1.5)]
    assert mean_points([]) == []
