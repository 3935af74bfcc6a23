"""Where every number comes from: the command, seed, commit, checkpoint and JSON file of each row."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from lavis.report.markup import Safe, el
from lavis.report.numbers import Row, named, names_of
from lavis.report.tables import anchor

FILE = "results.json"
HEADS = ("model", "seed", "forget list", "commit", "command", "numbers from", "checkpoint", "time and pairs")


def provenance(rows: Sequence[Row]) -> Safe:
    """A table with one line a row, the place that the seeds in the other tables link to."""
    body = [_line(row) for name in names_of(rows) for row in named(rows, name)]
    head = el("tr", *(el("th", text, scope="col") for text in HEADS))
    table = el("table", el("thead", head), el("tbody", *body), class_="runs")
    return el("div", table, class_="scroll", tabindex="0", role="region", aria_label="How each row was made")


def _line(row: Row) -> Safe:
    command = row.get("command") or []
    typed = shlex.join(str(word) for word in command) if isinstance(command, list) else str(command)
    fault = el("p", str(row["broken"]), class_="said absent") if row.get("broken") else None
    folder = row.get("folder")
    return el(
        "tr",
        el("th", row["name"], scope="row"),
        el("td", str(row.get("seed"))),
        el("td", _forget_list(row)),
        el("td", _commit(row.get("commit")), title=str(row.get("commit"))),
        el("td", el("code", typed or "not recorded"), fault, class_="wide"),
        el("td", el("code", str(PurePosixPath(folder) / FILE) if folder else "not recorded"), class_="path"),
        el("td", el("code", str(row.get("checkpoint") or "not recorded")), class_="path"),
        el("td", _effort(row), class_="path"),
        id=anchor(row),
    )


def _forget_list(row: Row) -> str:
    size = row.get("df_size")
    return f"{row.get('df_seed')}" + (f", {size:,} images" if isinstance(size, int) else "")


def _commit(commit: object) -> str:
    """A commit by its first ten digits; what stands behind a plus (changes that were not committed) is kept."""
    if not commit:
        return "unknown"
    digits, plus, rest = str(commit).partition("+")
    return digits[:10] + plus + rest


def _effort(row: Row) -> str:
    parts = [f"{name} {seconds:.0f} s" for name, seconds in _numbers(row.get("seconds")).items()]
    parts += [f"{count:,} {name}" for name, count in _numbers(row.get("counts")).items()]
    return ", ".join(parts)


def _numbers(values: Any) -> dict[str, float]:
    found = values if isinstance(values, Mapping) else {}
    return {str(key): value for key, value in found.items() if isinstance(value, int | float)}
