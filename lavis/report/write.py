"""Writes the report's files: results.json, results.csv, results.md and index.html."""

from __future__ import annotations

from pathlib import Path

from lavis.common.files import write_json, write_text
from lavis.report.page import Report, render
from lavis.report.tables import to_csv, to_markdown

PAGE = "index.html"


def write_report(report: Report, folder: Path) -> Path:
    """Write all files into `folder`, each atomically; returns the page's path."""
    content = {"schema": 1, "rows": report.rows, "problems": list(report.problems), "command": list(report.made_by)}
    write_json(folder / "results.json", content)
    write_text(folder / "results.csv", to_csv(report.rows))
    write_text(folder / "results.md", to_markdown(report.rows, report.rules))
    write_text(folder / PAGE, render(report))
    return folder / PAGE
