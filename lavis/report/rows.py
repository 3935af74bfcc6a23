"""Reads the report's rows from run folders."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lavis.common.errors import DataError
from lavis.common.results import read_results
from lavis.report.numbers import Row, is_number

KEPT = (
    *("method", "backbone", "task", "df_size", "df_seed", "metrics", "counts"),
    *("checkpoint", "commit", "command", "seconds"),
)
NO_LOSS = ("train_lr", "train_seconds", "train_waiting", "train_grad_norm")
RELEARNING = "relearning.json"
EVALUATIONS = "evaluations"
Series = dict[str, list[tuple[float, float]]]


def row_from_folder(folder: Path, name: str | None = None) -> Row:
    """One row from a run folder's results.json; "broken" says what is wrong with a broken model.

    Raises MissingFile and DataError as `read_results` does.
    """
    results = read_results(folder / "results.json")
    row = {"name": name or results["name"], "seed": results["seed"], **{key: results[key] for key in KEPT}}
    broken = {"broken": str(results["problem"])} if results.get("problem") else {}
    return {**row, "folder": folder.as_posix(), **broken}


def other_evaluations(folder: Path, name: str) -> list[Row]:
    """A run's rows on other data than its own (lavis/tasks/evaluations.py); the folder's name stands for the task.

    Results that cannot be read are left out: the run itself is not doubtful because of them.
    """
    rows = []
    for path in sorted(folder.glob(f"{EVALUATIONS}/*/results.json")):
        with contextlib.suppress(DataError):
            rows.append({**row_from_folder(path.parent, name), "task": path.parent.name})
    return rows


def broken_row(folder: Path, name: str, seed: int | None, error: object, **setting: Any) -> Row:
    """A row for unreadable results: `setting` is what it belongs to, "broken" says what is wrong."""
    nothing = {"metrics": {}, "counts": {}, "seconds": {}, "command": [], "checkpoint": None, "commit": None}
    return {"name": name, "seed": seed, **nothing, **setting, "folder": folder.as_posix(), "broken": str(error)}


def relearning(folder: Path) -> Series:
    """The curves of a run folder's relearning.json over its steps; empty if there is no readable one.

    Values that are not finite are skipped.
    """
    try:
        content = json.loads((folder / RELEARNING).read_text(encoding="utf-8"))
        steps = list(content.pop("steps"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    curves = {key: values for key, values in content.items() if isinstance(values, list) and len(values) == len(steps)}
    return {
        key: [(float(x), float(y)) for x, y in zip(steps, values, strict=True) if is_number(x) and is_number(y)]
        for key, values in curves.items()
    }


def losses(folder: Path) -> Series:
    """The loss and its terms by epoch from a run folder's log.txt; empty if there are none.

    Lines that are not JSON (from a run killed while writing) and values that are not numbers are skipped. Of an epoch
    that occurs twice (after a resume) the last record counts. A term that equals the whole loss is omitted.
    """
    series: dict[str, dict[float, float]] = {}
    for record in _records(folder / "log.txt"):
        terms = {key: value for key, value in record.items() if key.startswith("train_") and key not in NO_LOSS}
        for key, value in terms.items() if is_number(record.get("epoch")) else ():
            if is_number(value):
                series.setdefault(key.removeprefix("train_"), {})[float(record["epoch"])] = float(value)
    lines = {name: sorted(points.items()) for name, points in series.items()}
    return {name: points for name, points in lines.items() if name == "loss" or points != lines.get("loss")}


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log that are JSON objects."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                yield record
