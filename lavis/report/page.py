"""The report's page: static HTML without scripts, nothing loaded from elsewhere, every text escaped."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lavis.report import portraits, sections
from lavis.report.columns import benchmark_tables, columns_of, general_tables
from lavis.report.gallery import Gallery
from lavis.report.markup import Safe, el, join, raw
from lavis.report.numbers import Row, by_setting, names_of
from lavis.report.provenance import provenance
from lavis.report.published import SOURCE, published
from lavis.report.rows import Series
from lavis.report.standing import with_derived
from lavis.report.style import CSS
from lavis.report.tables import anchor
from lavis.report.verdicts import VerdictRules

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
Setting = tuple[str, str, int | None]


@dataclass
class Report:
    """All that the page shows.

    `losses` and `relearning` are by run folder, `galleries` by setting (backbone, task, df_size); `problems` are
    sentences about jobs that failed and results that are missing; `rules` are the verdicts' thresholds.
    """

    rows: list[Row]
    title: str = "What unlearning removed, and what it cost"
    galleries: Mapping[Setting, Gallery] = field(default_factory=dict)
    losses: Mapping[str, Series] = field(default_factory=dict)
    relearning: Mapping[str, Series] = field(default_factory=dict)
    problems: Sequence[str] = ()
    made_by: Sequence[str] = ()
    rules: VerdictRules | None = None

    def __post_init__(self) -> None:
        self.rows = with_derived(self.rows, self.rules)

    def curves(self, rows: Sequence[Row], series: Mapping[str, Series]) -> dict[str, Series]:
        """The series of rows' folders, by the rows' anchors."""
        return {anchor(row): series[row["folder"]] for row in rows if row.get("folder") in series}


def render(report: Report) -> str:
    """The whole page as text."""
    groups = by_setting(report.rows)
    body = [_problems(report.problems)]
    for place, (setting, rows) in enumerate(groups.items()):
        body += _setting(report, setting, rows, place, alone=len(groups) == 1)
    if not groups:
        body.append(el("p", "There are no results yet.", class_="lead"))
    body.append(el("section", el("h2", "How each row was made"), provenance(report.rows), id="runs", class_="runs"))
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", report.title),
        el("link", rel="icon", href="data:,"),
        el("style", raw(CSS)),
    )
    page = el("html", head, el("body", _header(report, groups), el("main", *body), _footer(report)), lang="en")
    return f"<!DOCTYPE html>\n{page}\n"


def _header(report: Report, groups: Mapping[Setting, list[Row]]) -> Safe:
    models = len(names_of(report.rows))
    links = []
    for place, (setting, rows) in enumerate(groups.items()):
        if len(groups) > 1:
            links.append((_title(setting), f"summary-{place}"))
        else:
            links += [(short, f"{key}-{place}") for key, short, _, _ in _parts(report, setting, rows)]
    links.append(("Provenance", "runs"))
    shown = [el("a", text, href=f"#{target}") for text, target in links] if groups else []
    runs = f"{models} models, {len(report.rows)} runs"
    return el("header", el("h1", report.title), el("p", runs, class_="muted"), el("nav", *shown))


def _setting(report: Report, setting: Setting, rows: list[Row], place: int, alone: bool) -> list[Safe]:
    """One backbone, task and forget-set size: everything that may be compared."""
    name = _title(setting)
    heading = el("p", name, class_="muted") if alone else el("h2", name, class_="setting")
    shown = [heading]
    for key, _, title, content in _parts(report, setting, rows):
        shown.append(el("section", el("h2", title) if title else None, content, id=f"{key}-{place}", class_=key))
    return shown


def _parts(report: Report, setting: Setting, rows: list[Row]) -> list[tuple[str, str, str, Safe]]:
    """The sections of a setting that have something to show: key, short name, title, content."""
    gallery = portraits.gallery(report.galleries.get(setting), rows)
    relearned = sections.relearning(rows, report.curves(rows, report.relearning))
    judged = sections.verdicts(rows, report.rules)
    parts = [
        ("summary", "Results", "", sections.summary(rows)),
        ("verdicts", "Verdicts", "Verdicts, and the distance to exact retraining", judged),
        ("tradeoff", "Trade-off", "Forgetting against utility", sections.trade_off(rows)),
        ("benchmark", "SALMUBench", "SALMUBench", _benchmark(rows)),
        ("relearning", "Relearning", "How what was forgotten comes back", relearned),
        ("portraits", "Portraits", "What each model says of forgotten portraits", gallery),
        ("similarity", "Similarity", "How close images and their captions are", sections.similarity(rows)),
        ("table", "Retrieval", "Retrieval and similarity, all numbers", _all_numbers(rows)),
        ("training", "Training", "Training curves", sections.training(rows, report.curves(rows, report.losses))),
    ]
    return [(key, short, title, content) for key, short, title, content in parts if content is not None]


def _benchmark(rows: list[Row]) -> Safe | None:
    """SALMUBench's tables, and where the published numbers come from."""
    tables = benchmark_tables(rows)
    if not tables:
        return None
    found: list[Safe] = [sections.notes(rows)]
    if published(rows):
        found.append(el("p", f"Rows marked published are the paper's own numbers: {SOURCE}.", class_="muted"))
    for table in tables:
        mark = el("span", "ours" if table.ours else "as published", class_="origin")
        found += [el("h3", table.title, " ", mark), sections.numbers(rows, table)]
    return join(found)


def _all_numbers(rows: list[Row]) -> Safe:
    tables = [table for table in general_tables(rows) if columns_of(table, rows)]
    if not tables:
        return el("p", "Nothing was measured.", class_="muted")
    titles = len(tables) > 1
    parts = [part for t in tables for part in (el("h3", t.title) if titles else None, sections.numbers(rows, t))]
    return join([sections.notes(rows), *parts])


def _title(setting: Setting) -> str:
    backbone, task, size = setting
    return f"{task} · {backbone}" + (f" · {size:,} images to forget" if size is not None else "")


def _problems(problems: Sequence[str]) -> Safe | None:
    if not problems:
        return None
    items = el("ul", *(el("li", text, class_="said") for text in problems))
    return el("div", el("p", el("strong", "This report is not complete:")), items, class_="note", role="status")


def _footer(report: Report) -> Safe:
    made = shlex.join(report.made_by) if report.made_by else ""
    text = "All people, faces and facts of SALMU and SALMU-mini are fictitious."
    parts: list[Any] = [text]
    if made:
        parts += [" This page was made by ", el("code", made), "."]
    return el("footer", el("p", join(parts)))
