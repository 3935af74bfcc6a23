"""The schema page lists what the registry has."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavis.report.schema_page import PAGE, main, metrics_table, page

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_page_is_the_registrys() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page(text) == text, "run: python -m lavis.report.schema_page"


def test_every_number_is_listed_once() -> None:
    lines = metrics_table().splitlines()[2:]
    keys = [line.split("|")[2] for line in lines]
    assert len(set(keys)) == len(keys) > 40
    assert {" `<split>_txt_r1` ", " `mia_auc` ", " `salmubench_retfail_mrr` "} <= set(keys)


def test_a_page_is_rewritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- metrics: begin -->\nstale line\n<!-- metrics: end -->\nafter\n")
    assert main([str(path)]) == 0
    text = path.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "stale" not in text and "`mia_auc`" in text


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the marks"):
        page("no list here")
