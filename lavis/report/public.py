"""A report that may be handed on: numbers, and no text that could name a person, a file or a folder."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from lavis.report.numbers import Row, is_number
from lavis.report.page import Report
from lavis.report.rows import Series

NAMES = ("name", "method", "backbone", "task")
FACTS = ("seed", "df_size", "df_seed", "commit", "budget")
NUMBERS = ("metrics", "counts", "seconds")
UNNAMED = {"broken": "its results are broken", "doubt": "its results are out of date"}
_PATH = re.compile(r"\S*[/\\]\S*")


def public(report: Report) -> Report:
    """The report without commands, paths, causes of problems, and portraits of real people.

    Rows keep only what is listed here, so that a key added to them later does not become public by itself.
    """
    numbers = {folder: f"run {place}" for place, folder in enumerate(dict.fromkeys(map(_folder, report.rows)), 1)}
    return dataclasses.replace(
        report,
        rows=[_row(row, numbers[_folder(row)]) for row in report.rows],
        galleries={setting: one for setting, one in report.galleries.items() if not one.real},
        problems=[_counted(len(report.problems))] if report.problems else [],
        made_by=(),
        public=True,
        losses=_renamed(report.losses, numbers),
        relearning=_renamed(report.relearning, numbers),
    )


def _renamed(curves: Mapping[str, Series], numbers: Mapping[str, str]) -> dict[str, Series]:
    return {numbers[folder]: lines for folder, lines in curves.items() if folder in numbers}


def _folder(row: Row) -> str:
    return str(row.get("folder", ""))


def _row(row: Row, folder: str) -> Row:
    kept: Row = {key: _PATH.sub("…", row[key]) for key in NAMES if isinstance(row.get(key), str)}
    kept |= {key: row[key] for key in FACTS if key in row} | {key: _numbers(row.get(key)) for key in NUMBERS}
    kept |= {key: words for key, words in UNNAMED.items() if row.get(key)}
    return {**kept, "checkpoint": None, "command": [], "folder": folder}


def _numbers(values: Any) -> dict[str, Any]:
    """The numbers among the values; None stands for one that is not finite."""
    given = values if isinstance(values, Mapping) else {}
    return {key: value for key, value in given.items() if value is None or is_number(value)}


def _counted(problems: int) -> str:
    return f"{problems} of its problems are not described here, because they name files; a report without --public does"
