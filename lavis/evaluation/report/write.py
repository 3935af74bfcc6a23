"""Writes the report's files: results.json, results.csv, results.md, index.html."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from lavis.evaluation.report.markdown import to_markdown
from lavis.evaluation.report.page import Report, render
from lavis.evaluation.report.tables import to_csv

PAGE = "index.html"


def write_report(report: Report, folder: Path) -> Path:
    """Write all files into `folder`, each whole or not at all; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"schema": 1, "rows": report.rows, "problems": list(report.problems), "command": list(report.made_by)}
    _replace(folder / "results.json", json.dumps(finite(content), ensure_ascii=False, indent=1, allow_nan=False) + "\n")
    _replace(folder / "results.csv", to_csv(report.rows))
    _replace(folder / "results.md", to_markdown(report.rows, report.rules))
    _replace(folder / PAGE, render(report))
    return folder / PAGE


def finite(node: Any) -> Any:
    """The same with null for numbers that JSON does not have."""
    if isinstance(node, dict):
        return {str(key): finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", errors="replace")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
