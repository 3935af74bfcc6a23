"""The content of a table's cell: a mean over seeds with its spread and interval, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lavis.evaluation.measure import all_columns
from lavis.evaluation.metric import DOWN, UP, Column
from lavis.report.numbers import Row, broken, mean_of, named, names_of, number, shown, spread_of, target_name
from lavis.settings.schema import REFERENCES

BROKEN, NOT_MEASURED, NOTHING = "broken", "not measured", "–"


@dataclass(frozen=True)
class Cell:
    """`main` is the mean or why there is none; the spread over seeds, the interval and the note may be ""."""

    main: str
    spread: str = ""
    interval: str = ""
    note: str = ""
    measured: bool = True

    @property
    def text(self) -> str:
        note = f"({self.note})" if self.note else ""
        return " ".join(part for part in (self.main, self.spread, self.interval, note) if part)


def cell(rows: Sequence[Row], column: Column) -> Cell:
    """The rows (seeds) of one model in one column.

    "broken" if a value is not a finite number or the results could not be read; "not measured" if nobody tried; a dash
    if a comparison does not apply. A note says how many seeds a mean lacks.
    """
    value, spread = mean_of(rows, column.key), spread_of(rows, column.key)
    if value is None:
        failed = any(broken(row, column.key) for row in rows)
        measurable = column.key in {known.key for known in all_columns()}
        return Cell(BROKEN if failed else NOT_MEASURED if measurable else NOTHING, measured=False)
    return Cell(
        shown(value, column.decimals),
        "" if spread is None else f"± {shown(spread, column.decimals)}",
        _interval(rows, column),
        _lacking(rows, column),
    )


def _interval(rows: Sequence[Row], column: Column) -> str:
    """The bootstrap interval; for several seeds the means of its ends."""
    ends = [mean_of(rows, f"{column.key}_{end}") for end in ("low", "high")]
    return "" if None in ends else f"[{', '.join(shown(end, column.decimals) for end in ends if end is not None)}]"


def _lacking(rows: Sequence[Row], column: Column) -> str:
    """How many seeds have no value."""
    lost = sum(number(row, column.key) is None for row in rows)
    failed = sum(broken(row, column.key) for row in rows)
    seeds = "1 seed" if lost == 1 else f"{lost} seeds"
    return f"{seeds} {BROKEN if failed else 'missing'}" if lost else ""


def best_methods(rows: Sequence[Row], column: Column) -> set[str]:
    """The methods with the best mean: nearest to the column's aim or the target's value, else highest or lowest.

    Empty without rivals or aim; a method that lacks the value for a seed does not compete.
    """
    methods = {name: named(rows, name) for name in names_of(rows) if name not in REFERENCES}
    whole = {name: mean_of(seeds, column.key) for name, seeds in methods.items() if not _lacking(seeds, column)}
    costs = {name: cost for name, mean in whole.items() if (cost := _cost(rows, column, mean)) is not None}
    return {name for name, cost in costs.items() if cost <= min(costs.values()) + 1e-9} if len(costs) > 1 else set()


def _cost(rows: Sequence[Row], column: Column, mean: float | None) -> float | None:
    """How far a mean is from the best; None if unknown."""
    if mean is None or (column.aim is None and column.direction in (UP, DOWN)):
        return -mean if mean is not None and column.direction == UP else mean
    aim = column.aim if column.aim is not None else mean_of(named(rows, target_name(rows) or ""), column.key)
    return None if aim is None else abs(mean - aim)
