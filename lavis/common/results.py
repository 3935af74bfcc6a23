"""results.json of a run folder: written whole or not at all, checked when read. Schema: docs/results_schema.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavis.common.errors import DataError, MissingFile
from lavis.common.files import plain, write_json

SCHEMA = 1
FILE_NAME = "results.json"
NUMBER = (int, float)
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
JSON_NAMES = {
    int: "a whole number",
    str: "text",
    dict: "an object",
    list: "a list",
    bool: "true or false",
    NONE: "null",
}


def write_results(path: str | Path, results: Mapping[str, Any]) -> None:
    """Write a results file atomically: a temporary file beside it, flushed to disk, takes its name at the end.

    Numbers that are not finite become null (JSON has no NaN); NumPy and torch scalars become numbers. Raises
    DataError when `results` does not fit the schema; then, and when the disk is full, the former file stays.
    """
    content = plain(results)
    _check(content, f"results for {path}")
    write_json(Path(path), content, sync=True)


def read_results(path: str | Path) -> dict[str, Any]:
    """Read and check a results file.

    Raises MissingFile when there is none and DataError, naming file and key, when it is cut off or does not
    fit the schema.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFile(f"{path} does not exist; run the experiment, or evaluate.py on its checkpoint") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text ({error}); delete it and run the evaluation again") from None
    try:
        results = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not complete JSON ({error}); delete it and run the evaluation again") from None
    _check(results, str(path))
    return results


def _check(results: Any, where: str) -> None:
    if not isinstance(results, dict):
        raise DataError(f"{where}: expected a JSON object, found {type(results).__name__}")
    for key, kinds in FIELDS.items():
        if key not in results:
            raise DataError(f"{where}: key '{key}' is missing; run the evaluation again")
        if type(results[key]) not in kinds:
            expected = " or ".join(JSON_NAMES[kind] for kind in kinds)
            raise DataError(f"{where}: key '{key}' must be {expected}, found {results[key]!r:.80}")
    if results["schema"] != SCHEMA:
        raise DataError(f"{where}: key 'schema' is {results['schema']}, this version reads {SCHEMA}")
    for key in ("metrics", "counts", "seconds"):
        for name, value in results[key].items():
            if type(value) not in (*NUMBER, NONE):
                raise DataError(f"{where}: key '{key}.{name}' must be a number or null, found {value!r:.80}")
