"""The columns of the report's tables: those of the registered metrics, and those derived by comparing references."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lavis.evaluation.measure import all_columns
from lavis.evaluation.metric import DOWN, RESIDUE, RETRIEVAL, Column, Group
from lavis.report import published
from lavis.report.numbers import Row, broken, number

STANDING = (
    Column("distance_retrained", "distance to retrained", "mean |difference| of all compared metrics", 3, DOWN, 0.0),
    Column("distance_clean", "distance to clean", "the same, to a model that never saw the facts"),
)
DERIVED = (
    Column(
        *("forgotten_percent", "way to target %", "0: as compromised, 100: as the target, above: over-forgotten", 0),
        **{"aim": 100.0, "groups": (RETRIEVAL,), "order": 20},
    ),
    Column(
        *("target_distance", "distance to target", "mean absolute difference of all splits' cosines from the target"),
        *(3, DOWN, 0.0, (RETRIEVAL,), 30),
    ),
    Column(
        *("dr_kept_percent", "retain kept %", "retain recall@1 in percent of compromised's", 0),
        **{"aim": 100.0, "groups": (RETRIEVAL,), "order": 100},
    ),
)
_KEY = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b")
_MINUS = re.compile(r"(?<![\w-])-(?=\d)")


@dataclass(frozen=True)
class Table:
    """Columns under a title; `ours` if they are not the benchmark's, `whole` if columns without values are shown."""

    title: str
    columns: tuple[Column, ...]
    ours: bool = True
    whole: bool = False


def gap_column(column: Column) -> Column:
    """The column with a metric's absolute difference from retrained's."""
    title, text = column.gap.replace("_", " "), f"{column.title}: absolute difference from retrained's"
    return Column(column.gap, title, text, column.decimals, DOWN, 0.0, (RESIDUE,), column.order)


@functools.cache
def report_columns() -> tuple[Column, ...]:
    """Every column of the report."""
    columns = all_columns()
    return (*columns, *DERIVED, *(gap_column(column) for column in columns if column.gap))


def has(rows: Iterable[Row], key: str) -> bool:
    """Whether this was measured, even without success, for any row."""
    return any(number(row, key) is not None or (key in row["metrics"] and broken(row, key)) for row in rows)


def is_benchmark(rows: Iterable[Row]) -> bool:
    """Whether any row has SALMUBench's metrics."""
    return any(key.startswith("salmubench_") for row in rows for key in row["metrics"])


def benchmark_tables(rows: Sequence[Row]) -> list[Table]:
    """SALMUBench's tables; none if its metrics were not measured."""
    if not is_benchmark(rows):
        return []
    return [table for table in _tables(rows, benchmark=True) if columns_of(table, rows)]


def general_tables(rows: Sequence[Row]) -> list[Table]:
    """The tables of metrics for any data set: retrieval and similarity first."""
    return _tables(rows, benchmark=False)


def _tables(rows: Sequence[Row], benchmark: bool) -> list[Table]:
    groups = sorted({group for column in report_columns() for group in column.groups}, key=lambda g: (g.order, g.title))
    return [
        Table(group.title, _members(group, rows), ours=not group.published, whole=group.published)
        for group in groups
        if bool(group.suite) is benchmark
    ]


def _members(group: Group, rows: Sequence[Row]) -> tuple[Column, ...]:
    """A table's columns in order. Once any row has it, a column is shown if optional, or replaces its `instead_of`.

    On the benchmark's own data it does so even before it was measured, because the published models have it.
    """
    columns = [column for column in report_columns() if group in column.groups]
    own_data = any(row.get("task") == published.TASK for row in rows)
    replaced = {c.instead_of for c in columns if c.instead_of and (own_data or has(rows, c.key))}
    columns = [column for column in columns if not column.optional or has(rows, column.key)]
    shown = [c for c in columns if c.key not in replaced and (not c.instead_of or c.instead_of in replaced)]
    return tuple(sorted(shown, key=lambda column: column.order))


def columns_of(table: Table, rows: Sequence[Row]) -> list[Column]:
    """A table's columns: all of them, or those with values."""
    return [column for column in table.columns if table.whole or has(rows, column.key)]


def missing_of(table: Table, rows: Sequence[Row]) -> list[Column]:
    """The columns of metrics that are not shown because no row has them."""
    shown, metrics = columns_of(table, rows), {column.key for column in all_columns()}
    return [column for column in table.columns if column not in shown and column.key in metrics]


def standing(rows: Sequence[Row]) -> list[Column]:
    """The distances to those references that there are."""
    return [column for column in STANDING if has(rows, column.key)]


def readable(text: str) -> str:
    """A sentence with the keys of metrics replaced by their columns' titles, and with true minus signs."""
    titles = {column.key: column.title for column in report_columns()}
    return _MINUS.sub("−", _KEY.sub(lambda match: titles.get(match.group(), match.group()), text))
