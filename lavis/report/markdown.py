"""The report's tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from lavis.evaluation.metric import Column
from lavis.report.cells import cell
from lavis.report.columns import STANDING, Table, benchmark_tables, columns_of, general_tables, readable
from lavis.report.markup import clean
from lavis.report.numbers import Row, by_setting, named, names_of
from lavis.report.published import SOURCE, published
from lavis.report.standing import judged
from lavis.report.tables import PASSED
from lavis.report.verdicts import NONE, VerdictRules


def to_markdown(rows: Sequence[Row], rules: VerdictRules | None = None) -> str:
    """The tables of every setting; means over seeds, with the standard deviation where there are several."""
    parts = []
    for (backbone, task, df_size), group in by_setting(rows).items():
        parts.append(f"## {_md(task)} · {_md(backbone)} · {df_size} images to forget")
        parts += _markdown_verdicts(group, rules)
        for table in benchmark_tables(group):
            parts += _markdown_table(table, group, benchmark=True)
        for table in general_tables(group):
            parts += _markdown_table(table, group, benchmark=False)
    return "\n\n".join(parts) + "\n"


def _markdown_verdicts(group: Sequence[Row], rules: VerdictRules | None) -> list[str]:
    said = {name: judged(named(group, name), group, rules) for name in names_of(group)}
    if not any(said.values()):
        return []
    heads = " | ".join(column.title for column in STANDING)
    lines = [f"| model | verdict | {heads} | reasons | seeds |", "|---|---|---:|---:|---|---|"]
    for name, verdict in said.items():
        own = named(group, name)
        numbers = " | ".join(cell(own, column).text for column in STANDING)
        word = "reference" if verdict is None else PASSED if verdict.name == NONE else verdict.name
        reasons = readable("; ".join(verdict.reasons)) if verdict else ""
        lines.append(f"| {_md(name)} | {word} | {numbers} | {_md(reasons)} | {_seeds(own)} |")
    return ["### Verdicts", "\n".join(lines)]


def _markdown_table(table: Table, group: Sequence[Row], benchmark: bool) -> list[str]:
    columns = columns_of(table, group)
    if not columns:
        return []
    lines = [
        "| model | " + " | ".join(_head(column, benchmark) for column in columns) + " | seeds |",
        "|---|" + "---:|" * len(columns) + "---|",
    ]
    for name in names_of(group):
        own = named(group, name)
        cells = " | ".join(cell(own, column).text for column in columns)
        lines.append(f"| {_md(name)} | {cells} | {_seeds(own)} |")
    for name, values in published(group).items() if table.whole else ():
        cells = " | ".join(values.get(column.key, "") for column in columns)
        lines.append(f"| {name} (published, {SOURCE}) | {cells} | |")
    mark = " (ours)" if table.ours and benchmark else ""
    return [f"### {table.title}{mark}", "\n".join(lines)]


def _head(column: Column, benchmark: bool) -> str:
    return f"{column.title} {column.direction}" if benchmark else column.title


def _seeds(rows: Sequence[Row]) -> str:
    return f"{len(rows)}: {', '.join(_md(row.get('seed')) for row in rows)}"


def _md(text: object) -> str:
    return clean(text).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ").replace("\t", " ")
