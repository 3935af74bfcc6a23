"""The report as CSV and Markdown: the committed tables, foreign text, and what was not measured."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path

import pytest

from lavis.report.columns import report_columns
from lavis.report.standing import with_derived
from lavis.report.tables import to_csv, to_markdown
from tests.report.rows import HOSTILE, row

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@pytest.fixture(scope="module")
def committed() -> list[dict]:
    return with_derived(json.loads((RESULTS / "salmu_mini.json").read_text("utf-8"))["rows"])


def test_the_committed_csv_is_what_its_rows_give(committed: list[dict]) -> None:
    assert to_csv(committed) == (RESULTS / "salmu_mini.csv").read_text("utf-8")


def test_the_committed_tables_are_what_their_rows_give(committed: list[dict]) -> None:
    """All but the first heading, in place of which the document has one of its own."""
    first, _, tables = to_markdown(committed).partition("\n\n")
    assert first == "## salmu_mini_retrieval · clip · 630 images to forget"
    assert tables in (RESULTS / "salmu_mini.md").read_text("utf-8")


def test_csv_has_every_metric_and_no_formulas() -> None:
    found = list(csv.DictReader(io.StringIO(to_csv([row(HOSTILE[5]), row("vlul", extra_metric=3)]))))
    assert found[0]["name"] == f"'{HOSTILE[5]}"
    assert found[1]["extra_metric"] == "3" and found[1]["df_cosine"] == "0.25"


def test_markdown_cells_cannot_break_the_table() -> None:
    lines = to_markdown([row(HOSTILE[5]), row("vlul")]).splitlines()
    assert "\\|a\\|b c" in lines[6]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines[4:]] == [len(re.findall(r"\|", lines[4]))] * 4
    assert [column.title for column in report_columns() if column.title in lines[4]]


def test_not_measured_is_empty_and_not_finite_is_nan() -> None:
    found = [row("a", m=1, n=None), row("b", m=math.nan, n=math.inf), row("c", m=0.1)]
    lines = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [(line["m"], line["n"]) for line in lines] == [("1", "nan"), ("nan", "nan"), ("0.1", "")]


def test_text_that_cannot_be_encoded_is_written() -> None:
    found = [row("a\ud800", **{"m\ud800": 1.0})]
    assert "a\\ud800,42" in to_csv(found) and "m\ufffd" in to_csv(found)
    assert "| a\ufffd |" in to_markdown(found)
