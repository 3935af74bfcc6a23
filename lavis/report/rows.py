"""Rows of the report, read from run folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lavis.common.results import read_results
from lavis.report.numbers import Row

KEPT = (
    "method",
    "backbone",
    "task",
    "df_size",
    "df_seed",
    "metrics",
    "counts",
    "checkpoint",
    "commit",
    "command",
    "seconds",
)
NO_LOSS = ("train_lr", "train_seconds", "train_waiting", "train_grad_norm")
RELEARNING = "relearning.json"
Series = dict[str, list[tuple[float, float]]]


def row_from_folder(folder: Path, name: str | None = None) -> Row:
    """One row from a run folder's results.json. Raises MissingFile and DataError as `read_results` does."""
    results = read_results(folder / "results.json")
    row = {"name": name or results["name"], "seed": results["seed"], **{key: results[key] for key in KEPT}}
    return {**row, "folder": folder.as_posix()}


def broken_row(folder: Path, name: str, seed: int | None, error: object, **setting: Any) -> Row:
    """A row for results that cannot be read: `setting` says what it belongs to, "broken" what is wrong."""
    nothing = {"metrics": {}, "counts": {}, "seconds": {}, "command": [], "checkpoint": None, "commit": None}
    return {"name": name, "seed": seed, **nothing, **setting, "folder": folder.as_posix(), "broken": str(error)}


def relearning(folder: Path) -> Series:
    """The curves of a run folder's relearning.json over its steps; empty where there is none that can be read.

    Values that are not finite are left out of their curve.
    """
    try:
        content = json.loads((folder / RELEARNING).read_text(encoding="utf-8"))
        steps = [_number(step) for step in content["steps"]]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    found = {}
    for key, values in content.items():
        if key != "steps" and isinstance(values, list) and len(values) == len(steps):
            pairs = zip(steps, map(_number, values), strict=True)
            found[str(key)] = [(step, value) for step, value in pairs if step is not None and value is not None]
    return found


def losses(folder: Path) -> Series:
    """The loss and its terms by epoch from a run folder's log.txt; empty where there are none.

    Lines that are not JSON (a run that was killed while it wrote) and values that are not numbers are left out.
    An epoch that occurs twice (after a resume) counts once, as last written. A term that is the whole loss is left out.
    """
    series: dict[str, dict[float, float]] = {}
    for record in _records(folder / "log.txt"):
        epoch = _number(record.get("epoch"))
        if epoch is None:
            continue
        for key, value in record.items():
            loss = _number(value)
            if key.startswith("train_") and key not in NO_LOSS and loss is not None:
                series.setdefault(key.removeprefix("train_"), {})[epoch] = loss
    lines = {name: sorted(points.items()) for name, points in series.items()}
    return {name: points for name, points in lines.items() if name == "loss" or points != lines.get("loss")}


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def _number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf"):
        return float(value)
    return None
