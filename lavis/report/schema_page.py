"""Writes the list of metrics in docs/results_schema.md from the registry: `python -m lavis.report.schema_page`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lavis.common.files import write_text
from lavis.evaluation.measure import all_metrics
from lavis.evaluation.metric import DIRECTIONS, Column, Metric

PAGE = Path("docs/results_schema.md")
BEGIN, END = "<!-- metrics: begin -->", "<!-- metrics: end -->"
HEAD = "| `run.metrics` | key | title | meaning | better |\n|---|---|---|---|---|"


def metrics_table() -> str:
    """One Markdown line per number of each registered metric; numbers of every split have the key `<split>_…`."""
    return "\n".join([HEAD, *(line for name, metric in all_metrics().items() for line in _lines(name, metric))])


def _lines(name: str, metric: Metric) -> list[str]:
    asked = f"`{name}`" + (f" or `{metric.suite}`" if metric.suite else "")
    per_split = {f"<split>_{column.key}": column for column in metric.split_columns}
    columns = per_split | {column.key: column for column in metric.columns if not _is_of_split(column.key, metric)}
    return [
        f"| {asked} | `{key}` | {column.title} | {column.help} | {_better(column)} |" for key, column in columns.items()
    ]


def _is_of_split(key: str, metric: Metric) -> bool:
    return any(key.endswith(f"_{column.key}") for column in metric.split_columns)


def _better(column: Column) -> str:
    return f"nearest to {column.aim:g}" if column.aim is not None else DIRECTIONS[column.direction].split(" is ")[0]


def page(text: str) -> str:
    """The page with its list of metrics replaced. Raises ValueError if the page lacks the two marks."""
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"the page lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{metrics_table()}\n{END}{after}"


def main(argv: Sequence[str] = ()) -> int:
    """Rewrite the page; exit code 0."""
    path = Path(argv[0]) if argv else PAGE
    write_text(path, page(path.read_text(encoding="utf-8")))
    sys.stdout.write(f"{path} is up to date\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
