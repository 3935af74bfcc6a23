"""The report's tables as CSV and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from lavis.common.printable import printable
from lavis.evaluation.metric import Column
from lavis.report.cells import cell
from lavis.report.columns import Table, benchmark_tables, columns_of, general_tables, readable, standing
from lavis.report.numbers import Row, broken, by_setting, doubtful, named, names_of
from lavis.report.published import SOURCE, published
from lavis.report.standing import judged
from lavis.report.text import clean
from lavis.report.verdicts import NONE, Verdict, VerdictRules

FACTS = ("name", "seed", "backbone", "task", "df_size", "df_seed", "commit", "checkpoint", "folder", "broken")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
TEXTS = frozenset({"model", "verdict", "reasons", "seeds"})  # left-aligned columns


def to_csv(rows: Sequence[Row]) -> str:
    """One line per row: the run's facts, its metrics, and the numbers derived from them.

    A metric that was not measured is an empty cell; one without a finite value is "nan".
    """
    facts = [{key: row.get(key) for key in (*FACTS, *(["doubt"] if doubtful(rows) else []))} for row in rows]
    metrics = [{key: "nan" if broken(row, key) else value for key, value in row["metrics"].items()} for row in rows]
    parts = (facts, metrics, [row.get("derived", {}) for row in rows])
    frames = [pd.DataFrame([_plain(record) for record in part], dtype=object) for part in parts]
    return pd.concat(frames, axis=1).to_csv(index=False, lineterminator="\n")


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with an apostrophe before text that a spreadsheet would take for a formula."""

    def safe(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return printable(f"'{value}" if value.startswith(FORMULA) else value)

    return {safe(clean(key)): safe(value) for key, value in record.items()}


def to_markdown(rows: Sequence[Row], rules: VerdictRules | None = None, problems: Sequence[str] = ()) -> str:
    """The tables of every setting: means over seeds, with the standard deviation if there are several; problems."""
    parts = []
    for (backbone, task, df_size), group in by_setting(rows).items():
        parts.append(f"## {_escaped(task)} · {_escaped(backbone)} · {df_size} images to forget")
        for title, frame in _frames(group, rules):
            parts += [f"### {title}", _markdown(frame)]
    if problems:
        parts += ["## Not complete", "\n".join(f"- {_escaped(problem)}" for problem in problems)]
    return "\n\n".join(parts) + "\n"


def _frames(group: Sequence[Row], rules: VerdictRules | None) -> Iterator[tuple[str, pd.DataFrame]]:
    """The tables of one setting with their titles, every cell as text."""
    verdicts = {name: judged(named(group, name), group, rules) for name in names_of(group)}
    if any(verdicts.values()):
        distances = standing(group)
        lines = [_verdict_line(named(group, name), verdict, distances) for name, verdict in verdicts.items()]
        yield "Verdicts", pd.DataFrame(lines, dtype=object)
    for table in benchmark_tables(group):
        yield table.title + " (ours)" * table.ours, pd.DataFrame(list(_lines(table, group, arrows=True)), dtype=object)
    for table in general_tables(group):
        if columns_of(table, group):
            yield table.title, pd.DataFrame(list(_lines(table, group, arrows=False)), dtype=object)


def _verdict_line(rows: Sequence[Row], verdict: Verdict | None, distances: Sequence[Column]) -> dict[str, str]:
    word = word_of(verdict.name) if verdict else "reference"
    numbers = {column.title: cell(rows, column).text for column in distances}
    reasons = readable("; ".join(verdict.reasons)) if verdict else ""
    return {"model": _model(rows), "verdict": word, **numbers, "reasons": reasons, "seeds": _seeds(rows)}


def word_of(verdict: str) -> str:
    """A verdict's name in tables."""
    return "none of the three" if verdict == NONE else verdict


def _lines(table: Table, group: Sequence[Row], arrows: bool) -> Iterator[dict[str, str]]:
    """The lines of a table by column head: our models, then the published ones."""
    columns = columns_of(table, group)
    heads = [f"{column.title} {column.direction}" if arrows else column.title for column in columns]
    for name in names_of(group):
        rows = named(group, name)
        texts = [cell(rows, column).text for column in columns]
        yield {"model": _model(rows), **dict(zip(heads, texts, strict=True)), "seeds": _seeds(rows)}
    for name, values in published(group).items() if table.whole else ():
        texts = [values.get(column.key, "") for column in columns]
        yield {"model": f"{name} (published, {SOURCE})", **dict(zip(heads, texts, strict=True)), "seeds": ""}


def _model(rows: Sequence[Row]) -> str:
    return f"{rows[0]['name']} (out of date)" if doubtful(rows) else rows[0]["name"]


def _seeds(rows: Sequence[Row]) -> str:
    return f"{len(rows)}: {', '.join(str(row.get('seed')) for row in rows)}"


def _markdown(frame: pd.DataFrame) -> str:
    rule = "|".join("---" if name in TEXTS else "---:" for name in frame.columns)
    return "\n".join([_line(frame.columns), f"|{rule}|", *map(_line, frame.itertuples(index=False))])


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _escaped(text: object) -> str:
    return clean(text).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ").replace("\t", " ")
