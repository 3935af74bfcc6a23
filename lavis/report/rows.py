"""Reads the report's rows from run folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lavis.audits.runner import FILE
from lavis.common.errors import DataError, MissingFile, first_few
from lavis.common.files import SMALL, json_lines, read_json
from lavis.common.results import AUDIT, EVALUATIONS, read_results
from lavis.report.numbers import Row, is_number

KEPT = (
    *("method", "backbone", "task", "df_size", "df_seed", "metrics", "counts"),
    *("checkpoint", "commit", "command", "seconds"),
)
NO_LOSS = ("train_lr", "train_seconds", "train_waiting", "train_grad_norm")
RELEARNING = "relearning.json"
Series = dict[str, list[tuple[float, float]]]


def row_from_folder(folder: Path, name: str | None = None) -> Row:
    """One row from a run folder's results.json; "broken" says what is wrong with a broken model.

    Raises MissingFile and DataError as `read_results` does.
    """
    results = read_results(folder / "results.json")
    row = {"name": name or results["name"], "seed": results["seed"], **{key: results[key] for key in KEPT}}
    row |= {"data": results["data"]} if results.get("data") else {}
    broken = {"broken": str(results["problem"])} if results.get("problem") else {}
    return {**row, "folder": folder.as_posix(), **broken}


def other_evaluations(folder: Path, name: str, problems: list[str]) -> list[Row]:
    """A run's rows on other data than its own (lavis/tasks/evaluations.py); the folder's name stands for the task.

    Results that cannot be read are left out, with a sentence in `problems`: the run is not doubtful because of them.
    """
    rows = []
    for place in sorted(folder.glob(f"{EVALUATIONS}/*")):
        if not os.path.lexists(place / "results.json"):
            continue
        try:
            rows.append({**row_from_folder(place, name), "task": place.name})
        except (DataError, MissingFile) as error:
            problems.append(f"{name}: an evaluation on other data is left out: {error}")
    return rows


def broken_row(folder: Path, name: str, seed: int | None, error: object, **setting: Any) -> Row:
    """A row for unreadable results: `setting` is what it belongs to, "broken" says what is wrong."""
    nothing = {"metrics": {}, "counts": {}, "seconds": {}, "command": [], "checkpoint": None, "commit": None}
    return {"name": name, "seed": seed, **nothing, **setting, "folder": folder.as_posix(), "broken": str(error)}


def relearning(folder: Path, problems: list[str]) -> Series:
    """The curves of a run folder's relearning.json over its steps; empty if there is none.

    Values that are not finite are skipped. A file that cannot be read, or a curve that does not fit the steps, is left
    out, with a sentence in `problems`.
    """
    path = folder / RELEARNING
    try:
        content = read_json(path, "relearning curves", largest=SMALL) if os.path.lexists(path) else {"steps": []}
        if not isinstance(content, dict) or not isinstance(content.get("steps"), list):
            raise DataError(f"{path}: expected an object with a list 'steps'; repeat the evaluation to rewrite it")
    except (DataError, MissingFile) as error:
        problems.append(f"the relearning curves of {folder} are left out: {error}")
        return {}
    steps = content.pop("steps")
    lists = {key: values for key, values in content.items() if isinstance(values, list)}
    curves = {key: values for key, values in lists.items() if len(values) == len(steps)}
    if lists.keys() - curves.keys():
        unfit = first_few(sorted(lists.keys() - curves.keys()))
        problems.append(f"{path}: curves that do not have {len(steps)} steps are left out: {unfit}")
    return {
        key: [(float(x), float(y)) for x, y in zip(steps, values, strict=True) if is_number(x) and is_number(y)]
        for key, values in curves.items()
    }


def losses(folder: Path, problems: list[str]) -> Series:
    """The loss and its terms by epoch from a run folder's log.txt; empty if there are none.

    Lines that cannot be read (from a run killed while writing) are left out, with a sentence in `problems`; values that
    are not numbers are skipped. Of an epoch that occurs twice (after a resume) the last record counts. A term that
    equals the whole loss is omitted.
    """
    series: dict[str, dict[float, float]] = {}
    for record in _records(folder / "log.txt", problems):
        terms = {key: value for key, value in record.items() if key.startswith("train_") and key not in NO_LOSS}
        for key, value in terms.items() if is_number(record.get("epoch")) else ():
            if is_number(value):
                series.setdefault(key.removeprefix("train_"), {})[float(record["epoch"])] = float(value)
    lines = {name: sorted(points.items()) for name, points in series.items()}
    return {name: points for name, points in lines.items() if name == "loss" or points != lines.get("loss")}


def _records(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """The lines of a log that are JSON objects; `problems` says how many others there are, and what the first is."""
    if not os.path.lexists(path):
        return []
    bad: list[str] = []
    try:
        lines = list(json_lines(path, "log", bad))
    except (DataError, MissingFile) as error:
        problems.append(f"the losses of {path.parent} are left out: {error}")
        return []
    bad += [f"{path}: line {number} is not a JSON object" for number, line in lines if not isinstance(line, dict)]
    if bad:
        problems.append(f"lines of a log that cannot be read are left out: {len(bad)}, the first: {bad[0]}")
    return [line for _, line in lines if isinstance(line, dict)]


def check_audit(folder: Path, problems: list[str]) -> None:
    """Add a sentence to `problems` if there is an audit of the run whose results cannot be read."""
    path = folder / AUDIT / FILE
    try:
        if os.path.lexists(path) and not isinstance(read_json(path, "audit", largest=SMALL), dict):
            raise DataError(f"{path}: expected an object; repeat the audit to rewrite it")
    except (DataError, MissingFile) as error:
        problems.append(f"the audit of {folder} is left out: {error}")
