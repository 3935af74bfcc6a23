"""Numbers that were measured on unlike data are not set side by side."""

from __future__ import annotations

from lavis.report.page import Report, render
from lavis.report.same_data import comparable, differing, groups
from tests.report.rows import row

ONE = {"dataset": "salmu", "splits": {"df": "a", "test": "t"}, "images": {"df": "i"}}
SWAPPED = {"dataset": "salmu", "splits": {"df": "b", "test": "t"}, "images": {"df": "i"}}
REDRAWN = {"dataset": "salmu", "splits": {"df": "a", "test": "t"}, "images": {"df": "j"}}
FEWER = {"dataset": "salmu", "splits": {"test": "t"}}


def test_what_differs_is_named():
    assert differing(ONE, SWAPPED) == ["df"]
    assert differing(ONE, REDRAWN) == ["images of df"]
    assert differing(ONE, {**ONE, "dataset": "coco"}) == ["data set"]
    assert differing(ONE, FEWER) == differing(ONE, {}) == differing({}, ONE) == []


def test_groups_are_of_equal_data_and_the_largest_is_first():
    found = groups([SWAPPED, ONE, FEWER, ONE, REDRAWN], lambda data: data)
    assert found == [[SWAPPED, FEWER], [ONE, ONE], [REDRAWN]] or found[0] == [ONE, ONE]
    assert groups([], lambda data: data) == []


def test_the_report_leaves_out_what_was_measured_on_another_forget_list():
    rows = [{**row(name), "data": ONE} for name in ("compromised", "retrained", "vlul")]
    rows.append({**row("erase"), "data": SWAPPED})
    kept, sentences = comparable(rows)
    assert [one["name"] for one in kept] == ["compromised", "retrained", "vlul"]
    (sentence,) = sentences
    assert "erase is omitted" in sentence and "(df differ)" in sentence and "compromised" in sentence
    report = Report(rows)
    assert len(report.rows) == 3 and "erase is omitted" in render(report)


def test_results_that_say_nothing_of_their_data_stay():
    rows = [{**row("compromised"), "data": {}}, {**row("vlul"), "data": ONE}, row("erase")]
    assert comparable(rows) == (rows, [])


def test_other_settings_have_tables_of_their_own():
    rows = [{**row("compromised"), "data": ONE}, {**row("compromised"), "df_size": 9, "data": SWAPPED}]
    assert comparable(rows)[1] == []
