"""The report's numbers: rows by setting, means over seeds, and numbers derived from metrics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from lavis.settings.schema import REFERENCES

Row = dict[str, Any]
COSINES = ("df_cosine", "holdout_association_cosine", "holdout_identity_cosine", "dr_cosine", "test_cosine")


def number(row: Row, key: str) -> float | None:
    """A row's metric or derived value if it is finite, else None; a broken model has none."""
    if row.get("broken"):
        return None
    value = row.get("metrics", {}).get(key, row.get("derived", {}).get(key))
    return float(value) if is_number(value) else None


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; true and false are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def broken(row: Row, key: str) -> bool:
    """Whether a metric has no finite result, the model is broken, or the row's results could not be read."""
    return bool(row.get("broken")) or (key in row["metrics"] and number(row, key) is None)


def shown(value: float, decimals: int) -> str:
    """A number as text with a true minus sign, and no minus before zero."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", "−")


def dashed(value: float | None, decimals: int = 3) -> str:
    """The same, or a dash for what is missing or not a number."""
    return "–" if value is None or math.isnan(value) else shown(value, decimals)


def setting_of(row: Row) -> tuple[str, str, int | None]:
    """What rows with comparable numbers share: (backbone, task, df_size)."""
    return str(row.get("backbone", "")), str(row.get("task", "")), row.get("df_size")


def by_setting(rows: Iterable[Row]) -> dict[tuple[str, str, int | None], list[Row]]:
    """Rows by setting, in the order of their first row."""
    groups: dict[tuple[str, str, int | None], list[Row]] = {}
    for row in rows:
        groups.setdefault(setting_of(row), []).append(row)
    return groups


def names_of(rows: Iterable[Row]) -> list[str]:
    """Model names, references first, each once."""
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    return [n for n in REFERENCES if n in names] + [n for n in names if n not in REFERENCES]


def named(rows: Iterable[Row], name: str) -> list[Row]:
    return [row for row in rows if row["name"] == name]


def doubtful(rows: Iterable[Row]) -> bool:
    """Whether any row's results are not those that its job would have now; the report's problems say why."""
    return any(row.get("doubt") for row in rows)


def peers(rows: Iterable[Row], name: str, row: Row) -> list[Row]:
    """The rows of a reference that a row is compared with: those of its seed, else all."""
    usable = [one for one in named(rows, name) if not one.get("broken")]
    return [one for one in usable if one.get("seed") == row.get("seed")] or usable


def values_of(rows: Sequence[Row], key: str) -> list[float]:
    """A metric's finite values."""
    return [value for row in rows if (value := number(row, key)) is not None]


def mean_of(rows: Sequence[Row], key: str) -> float | None:
    """Mean of a metric over the rows (seeds) that have it; None if none has."""
    values = values_of(rows, key)
    return sum(values) / len(values) if values else None


def spread_of(rows: Sequence[Row], key: str) -> float | None:
    """Sample standard deviation over rows; None for fewer than two values."""
    values = values_of(rows, key)
    return statistics.stdev(values) if len(values) > 1 else None


def target_name(rows: Iterable[Row]) -> str | None:
    """The reference that an unlearned model should resemble: retrained, else clean."""
    usable = {row["name"] for row in rows if not row.get("broken")}
    return next((name for name in ("retrained", "clean") if name in usable), None)


def derive(row: Row, group: Sequence[Row]) -> dict[str, float]:
    """One row's metrics compared with those of its references (of the same seed, if there are any).

    - `forgotten_percent`: how far df_cosine went from compromised (0) to the target (100); above 100 it forgot more
      than exact unlearning would.
    - `df_gap`: df_cosine minus the target's; below 0 means over-forgotten.
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
    now = [value for key in keys if (value := number(row, key)) is not None]
    before = [value for key in keys if (value := mean_of(leaky, key)) is not None]
    if len(now) < len(keys) or len(before) < len(keys) or not sum(before):
        return None
    return 100.0 * sum(now) / sum(before)
