"""Numbers of the report: grouping rows, means over seeds, and what is derived from the metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from lavis.report.palette import REFERENCES

Row = dict[str, Any]
COSINES = ("df_cosine", "holdout_association_cosine", "holdout_identity_cosine", "dr_cosine", "test_cosine")


def number(row: Row | None, key: str) -> float | None:
    """A finite metric (or derived value) of a row, else None."""
    if row is None:
        return None
    value = row.get("metrics", {}).get(key, row.get("derived", {}).get(key))
    return float(value) if is_number(value) else None


def is_number(value: Any) -> bool:
    """A finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def broken(row: Row, key: str) -> bool:
    """Whether a metric was measured without a finite value, or the row's results could not be read at all."""
    return bool(row.get("broken")) or (key in row["metrics"] and number(row, key) is None)


def shown(value: float, decimals: int) -> str:
    """A number for people: a true minus sign, and no minus before a zero."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def setting_of(row: Row) -> tuple[str, str, int | None]:
    """What rows share when their numbers may be compared: (backbone, task, df_size)."""
    return str(row.get("backbone", "")), str(row.get("task", "")), row.get("df_size")


def by_setting(rows: Iterable[Row]) -> dict[tuple[str, str, int | None], list[Row]]:
    """Rows by setting, in the order of their first row."""
    groups: dict[tuple[str, str, int | None], list[Row]] = {}
    for row in rows:
        groups.setdefault(setting_of(row), []).append(row)
    return groups


def names_of(rows: Iterable[Row]) -> list[str]:
    """Model names, references first, each once."""
    found = list(dict.fromkeys(str(row["name"]) for row in rows))
    return [n for n in REFERENCES if n in found] + [n for n in found if n not in REFERENCES]


def named(rows: Iterable[Row], name: str) -> list[Row]:
    return [row for row in rows if row["name"] == name]


def peers(rows: Iterable[Row], name: str, row: Row) -> list[Row]:
    """The rows of a reference that a row is held against: those of its own seed, else all."""
    found = [one for one in named(rows, name) if not one.get("broken")]
    return [one for one in found if one.get("seed") == row.get("seed")] or found


def mean_of(rows: Sequence[Row], key: str) -> float | None:
    """Mean of a metric over rows (seeds) that have it."""
    values = [value for row in rows if (value := number(row, key)) is not None]
    return sum(values) / len(values) if values else None


def spread_of(rows: Sequence[Row], key: str) -> float | None:
    """Sample standard deviation over rows; None for fewer than two."""
    values = [value for row in rows if (value := number(row, key)) is not None]
    if len(values) < 2:
        return None
    middle = sum(values) / len(values)
    return math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1))


def target_name(rows: Iterable[Row]) -> str | None:
    """The reference that unlearning should look like: retrained, else clean."""
    found = {row["name"] for row in rows if not row.get("broken")}
    return next((name for name in ("retrained", "clean") if name in found), None)


def derive(row: Row, group: Sequence[Row]) -> dict[str, float]:
    """What the metrics of one row mean beside its references, those of its own seed where there are any.

    - `forgotten_percent`: how far df_cosine went from compromised (0) to the target (100); above 100 is more than
      exact unlearning would forget.
    - `df_gap`: df_cosine minus the target's; below 0 is over-forgotten.
    - `target_distance`: mean absolute difference of all splits' cosines from the target's.
    - `dr_kept_percent`, `test_kept_percent`: recall@1 (mean of both directions) in percent of compromised's.
    """
    target, leaky = target_name(group), peers(group, "compromised", row)
    aims = peers(group, target, row) if target else []
    derived: dict[str, float | None] = {
        "forgotten_percent": _share(number(row, "df_cosine"), mean_of(leaky, "df_cosine"), mean_of(aims, "df_cosine")),
        "df_gap": _gap(number(row, "df_cosine"), mean_of(aims, "df_cosine")),
        "target_distance": _distance(row, aims),
        "dr_kept_percent": _kept(row, leaky, "dr"),
        "test_kept_percent": _kept(row, leaky, "test"),
    }
    return {key: round(value, 6) for key, value in derived.items() if value is not None}


def _share(value: float | None, start: float | None, end: float | None) -> float | None:
    if value is None or start is None or end is None or abs(start - end) < 1e-9:
        return None
    return 100.0 * (start - value) / (start - end)


def _gap(value: float | None, aim: float | None) -> float | None:
    return None if value is None or aim is None else value - aim


def _distance(row: Row, aims: Sequence[Row]) -> float | None:
    gaps = [_gap(number(row, key), mean_of(aims, key)) for key in COSINES]
    known = [abs(gap) for gap in gaps if gap is not None]
    return sum(known) / len(known) if known else None


def _kept(row: Row, leaky: Sequence[Row], split: str) -> float | None:
    keys = (f"{split}_txt_r1", f"{split}_img_r1")
    own = [value for key in keys if (value := number(row, key)) is not None]
    before = [value for key in keys if (value := mean_of(leaky, key)) is not None]
    if len(own) < len(keys) or len(before) < len(keys) or not sum(before):
        return None
    return 100.0 * sum(own) / sum(before)
