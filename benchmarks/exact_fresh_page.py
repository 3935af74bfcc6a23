"""The section of the study's page on distillation into a fresh text tower, from its JSON alone."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import markdown, number

HEAD = ("model", "steps", "CPU ÷", "area", "area, fresh", "value AUC whole", "partial", "X others", "Dr R@1")


def fresh_file(path: Path) -> Path:
    """The file of these runs next to the page."""
    return path.with_name(f"{path.stem}_fresh.json")


def fresh_section(content: Mapping[str, Any]) -> list[str]:
    """What the runs are, then a line per model."""
    facts = f"{content['retraining_steps']} steps and {content['retraining_cpu_seconds']:.0f} CPU seconds"
    return [
        f"## A fresh text tower, on the planted people of {content['world']}\n",
        f"*retrained* never saw the pairs of planted people that are to be forgotten, and took {facts}. *UNDO* starts "
        "from *cpd_level-no-reset*. Shares of steps and of CPU time are of retrained's; one draw of relearning.\n",
        markdown(HEAD, [_line(row) for row in content["rows"]]),
    ]


def _line(row: Mapping[str, Any]) -> list[str]:
    areas = [statistics.mean(row["relearning"]["areas"][of]) for of in ("x", "fresh")]
    numbers = [*areas, row["values"]["whole"], row["values"]["partial"], row["others"], row["r1"]]
    share = f"{row['steps']} ({row['share']:.0%})" if "share" in row else "–"
    return [row["name"], share, number(row.get("cpu_share"), 2), *map(number, numbers)]
