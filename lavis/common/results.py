"""results.json of a run folder: atomic writes, checked reads. Schema: docs/results_schema.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavis.common.bounded_json import parse_json
from lavis.common.errors import DataError
from lavis.common.files import SMALL, plain, read_text, write_json

SCHEMA = 1
FILE_NAME = "results.json"
EVALUATIONS = "evaluations"  # folder in a run folder: what was evaluated later
AUDIT = "audit"  # folder in a run folder: what attacks found
NONE = type(None)
FIELDS: dict[str, tuple[type, ...]] = {
    "schema": (int,),
    "name": (str,),
    "method": (str, NONE),
    "backbone": (str,),
    "task": (str,),
    "df_size": (int, NONE),
    "df_seed": (int,),
    "seed": (int,),
    "metrics": (dict,),
    "counts": (dict,),
    "checkpoint": (str, NONE),
    "commit": (str, NONE),
    "command": (list,),
    "seconds": (dict,),
    "config": (dict,),
    "finished": (bool,),
}
WORDS = {int: "a whole number", str: "text", dict: "an object", list: "a list", bool: "true or false", NONE: "null"}


def write_results(path: str | Path, results: Mapping[str, Any]) -> None:
    """Write a results file atomically and flush it to disk.

    Numbers that are not finite become null (JSON has no NaN); NumPy and torch scalars become numbers. Raises DataError
    if `results` does not fit the schema; then, and if the disk is full, the previous file stays.
    """
    content = plain(results)
    _check(content, f"results for {path}")
    write_json(Path(path), content, sync=True)


def read_results(path: str | Path) -> dict[str, Any]:
    """Read a results file. Raises MissingFile, or DataError with file and key if it does not fit the schema."""
    path = Path(path)
    text = read_text(path, "results file", "run the experiment, or evaluate.py on its checkpoint", SMALL)
    results = parse_json(text, str(path), "delete it and rerun the evaluation")
    _check(results, str(path))
    return results


def _check(results: Any, where: str) -> None:
    if not isinstance(results, dict):
        raise DataError(f"{where}: expected a JSON object, found {type(results).__name__}")
    for key, kinds in FIELDS.items():
        if key not in results:
            raise DataError(f"{where}: key '{key}' is missing; rerun the evaluation")
        if type(results[key]) not in kinds:
            expected = " or ".join(WORDS[kind] for kind in kinds)
            raise DataError(f"{where}: key '{key}' must be {expected}, found {results[key]!r:.80}")
    if results["schema"] != SCHEMA:
        raise DataError(f"{where}: key 'schema' is {results['schema']}, this version reads {SCHEMA}")
    for key in ("metrics", "counts", "seconds"):
        for name, value in results[key].items():
            if type(value) not in (int, float, NONE):
                raise DataError(f"{where}: key '{key}.{name}' must be a number or null, found {value!r:.80}")
