"""Writes the report. Its page is static HTML without external resources, with all text escaped.

The only script is templates/tables.js: the page's policy names its hash, so that a browser runs nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lavis.common.files import write_json, write_text
from lavis.evaluation.metric import DIRECTIONS
from lavis.report import cells, columns, numbers, published, sections, story, tables
from lavis.report.gallery import NEAR_RANK, Gallery
from lavis.report.numbers import Row, by_setting, named, names_of
from lavis.report.palette import COLOURS
from lavis.report.rows import Series
from lavis.report.same_data import comparable
from lavis.report.standing import with_derived
from lavis.report.text import clean
from lavis.report.verdicts import VerdictRules

TEMPLATES = Path(__file__).with_name("templates")
Setting = tuple[str, str, int | None]  # backbone, task, df_size


@dataclass
class Report:
    """Everything that the page shows.

    `losses` and `relearning` are by run folder, `galleries` by setting; `rules` are the verdicts' thresholds;
    `problems` are sentences about failed jobs and missing results. Rows that were measured on other data than the rest
    are left out, and `problems` gets a sentence about each. A `public` report (lavis/report/public.py) has no places.
    """

    rows: list[Row]
    title: str = "What unlearning removed, and what it cost"
    galleries: Mapping[Setting, Gallery] = field(default_factory=dict)
    losses: Mapping[str, Series] = field(default_factory=dict)
    relearning: Mapping[str, Series] = field(default_factory=dict)
    problems: Sequence[str] = ()
    made_by: Sequence[str] = ()
    rules: VerdictRules | None = None
    public: bool = False

    def __post_init__(self) -> None:
        rows, unlike = comparable(self.rows)
        self.problems = [*self.problems, *unlike]
        self.rows = with_derived(rows, self.rules)


def write_report(report: Report, folder: Path) -> Path:
    """Write index.html and results.json, .csv and .md into `folder`, each atomically; returns the page's path."""
    content = {"schema": 1, "rows": report.rows, "problems": list(report.problems), "command": list(report.made_by)}
    write_json(folder / "results.json", content)
    write_text(folder / "results.csv", tables.to_csv(report.rows))
    write_text(folder / "results.md", tables.to_markdown(report.rows, report.rules, report.problems))
    page = folder / "index.html"
    write_text(page, render(report))
    return page


def render(report: Report) -> str:
    """The whole page as text, the same for equal reports."""
    settings = [(setting, rows, shown_of(report, setting, rows)) for setting, rows in by_setting(report.rows).items()]
    runs = [row for name in names_of(report.rows) for row in named(report.rows, name)]
    return environment().get_template("page.html").render(report=report, settings=settings, runs=runs, colours=COLOURS)


def shown_of(report: Report, setting: Setting, rows: list[Row]) -> dict[str, Any]:
    """The content of each section for one setting, by the name of the section's template."""
    return {
        "story": story.stories(rows, report.rules),
        "steps": story.next_steps(rows, report.rules, places=not report.public),
        "summary": sections.recalls(rows),
        "verdicts": sections.verdicts(rows, report.rules),
        "tradeoff": sections.trade_off(rows),
        "benchmark": columns.benchmark_tables(rows),
        "relearning": sections.relearning(rows, report.relearning),
        "portraits": report.galleries.get(setting),
        "similarity": sections.similarity(rows),
        "retrieval": [table for table in columns.general_tables(rows) if columns.columns_of(table, rows)],
        "training": sections.training(rows, report.losses),
    }


@cache
def environment() -> Environment:
    """The templates; everything they print is escaped and stripped of control characters."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    filters = {"shown": numbers.shown, "anchor": sections.anchor, "command": command, "word": tables.word_of}
    templates.filters |= filters
    templates.globals.update({"cells": cells, "columns": columns, "numbers": numbers, "published": published})
    script = (TEMPLATES / "tables.js").read_text(encoding="utf-8")
    templates.globals.update({"script": Markup(script), "script_hash": policy_hash(script)})  # noqa: S704 - our own file
    templates.globals.update({"sections": sections, "DIRECTIONS": DIRECTIONS, "NEAR_RANK": NEAR_RANK})
    return templates


def policy_hash(script: str) -> str:
    """What a page's Content-Security-Policy calls an inline script that may run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def command(words: object) -> str:
    """A command as typed in a shell."""
    return shlex.join(map(str, words)) if isinstance(words, list | tuple) else str(words or "")
