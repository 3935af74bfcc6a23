"""The section of the study's page on distillation into a fresh text tower, from its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import markdown, number
from benchmarks.exact_worlds import area

MEASURED = ("area", "area, fresh", "value AUC whole", "partial", "X others", "Dr R@1")  # on planted people


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
        markdown(["model", "steps", "CPU ÷", *MEASURED], [_line(row) for row in content["rows"]]),
    ]


def measured(row: Mapping[str, Any]) -> list[str]:
    """The cells of MEASURED."""
    values = row["values"]
    numbers = [area(row), area(row, "fresh"), values["whole"], values["partial"], row["others"], row["r1"]]
    return [number(one) for one in numbers]


def _line(row: Mapping[str, Any]) -> list[str]:
    share = f"{row['steps']} ({row['share']:.0%})" if "share" in row else "–"
    return [row["name"], share, number(row.get("cpu_share"), 2), *measured(row)]
