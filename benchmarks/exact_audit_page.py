"""The section of the study's page on its audits, from their JSON alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import markdown, number
from lavis.audits.hypothesis import LEVEL


def audit_file(path: Path) -> Path:
    """The file of the audits next to the page."""
    return path.with_name(f"{path.stem}_audit.json")


def stronger(row: Mapping[str, Any]) -> list[str]:
    """The attacks that recover more than from retrained, at the test's level after Holm's adjustment."""
    return [name for name, one in row["attacks"].items() if _known(one["p_holm"]) < LEVEL]


def audit_section(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the audits find: a sentence per model and world, then a table of attacks for each."""
    said = []
    for row in rows:
        names = ", ".join(f"`{name}`" for name in stronger(row))
        found = f"more is recovered by {names}" if names else "no attack recovers more"
        count = sum(one["p"] is not None for one in row["attacks"].values())
        tests = ", ".join(f"{name} {number(p)}" for name, p in row["tests"].items())
        said.append(
            f"- **{row['name']}, {row['world']}**: {found} ({count} attacks, budget {row['budget']}; p of the tests "
            f"without an attack: {tests})."
        )
    parts = [
        "## What the audit finds\n",
        f"An attack *recovers more* if its p, adjusted for the number of attacks (Holm), is below {LEVEL:g}. The "
        "[test](../audit.md#the-number) is that it finds no more about Df's people in this model than in retrained. "
        "Membership attacks (AUC) compare each with a second retrained model; `klom` needs a third.\n",
        "\n".join(said) + "\n",
    ]
    for row in rows:
        parts += [f"### Attacks on {row['name']}, {row['world']}\n", audit_table(row)]
    return parts


def audit_table(row: Mapping[str, Any]) -> str:
    """A line per attack: what it finds, what it finds in retrained, the share of the original's that comes back."""
    lines = []
    for name, one in sorted(row["attacks"].items(), key=lambda item: (_known(item[1]["p"]), item[0])):
        share = "–" if one["share"] is None else f"{number(one['share'])} [{number(one['low'])}, {number(one['high'])}]"
        floor = number(one["floor"]) + (" (guessing)" if one["problem"] and one["floor"] is not None else "")
        numbers = [number(one["attacked"]), floor, number(one["original"])]
        more = "yes" if name in stronger(row) else "no"
        lines.append(
            [f"`{name}`", one["quantity"], *numbers, share, number(one["p"], 4), number(one["p_holm"], 4), more]
        )
    head = ["attack", "of", "finds", "in retrained", "original", "share [95 %]", "p", "p (Holm)", "recovers more"]
    return markdown(head, lines)


def _known(value: float | None) -> float:
    return math.inf if value is None else value
