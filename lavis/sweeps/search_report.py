"""Writes the results of a search: a JSON file, and a table of all candidates with the chosen ones marked."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lavis.common.files import write_json, write_text
from lavis.evaluation.measure import columns_used
from lavis.evaluation.metric import SEARCH
from lavis.sweeps.candidates import Candidate, Rule, recall
from lavis.sweeps.schema import SweepConfig

logger = logging.getLogger(__name__)


def write_search(
    out: Path,
    sweep: SweepConfig,
    rule: Rule,
    references: Mapping[str, Mapping[str, float]],
    found: Sequence[Candidate],
    problems: Sequence[str],
) -> None:
    """Write `<out>.json` and `<out>.md`, and show the latter."""
    content = {
        "schema": 1,
        "sweep": sweep.source,
        "command": ["python", *sys.argv],
        "rule": {key: value for key, value in dataclasses.asdict(rule).items() if key != "out"},
        "references": {name: dict(metrics) for name, metrics in references.items()},
        "candidates": [dataclasses.asdict(candidate) for candidate in found],
        "problems": list(problems),
    }
    write_json(out.with_suffix(".json"), content)
    page = markdown(sweep, rule, references, found, problems, out.with_suffix(".json").name)
    write_text(out.with_suffix(".md"), page)
    sys.stdout.write(page)
    logger.info("written: %s.md and .json", out)


def markdown(
    sweep: SweepConfig,
    rule: Rule,
    references: Mapping[str, Mapping[str, float]],
    found: Sequence[Candidate],
    problems: Sequence[str],
    data: str,
) -> str:
    """The page: the rule, the references, a table for each method, the chosen settings as YAML."""
    seeds = sorted({run["seed"] for candidate in found for run in candidate.runs})
    lines = [
        "# Settings by search",
        "",
        f"`python bash/run.py --search {sweep.source}`; seed {', '.join(map(str, seeds))}; numbers: [{data}]({data}).",
        "",
        f"Of the settings that keep at least {rule.dr_kept:g} % of the compromised model's recall@1 on Dr, the one",
        f"nearest to *{rule.target}* on Df; if none keeps that much, the one that keeps most. Distance: mean of the",
        "absolute differences of the cosine, of recall@1 (as a fraction) and of the membership AUC. Recall is the mean",
        "of both directions, in percent. Only Df and Dr are used: the jobs run with `run.read_holdouts=false`.",
        "",
        *_table([_reference_row(name, metrics) for name, metrics in references.items()]),
    ]
    for method in dict.fromkeys(candidate.method for candidate in found):
        own = [candidate for candidate in found if candidate.method == method]
        kept = any(candidate.chosen and candidate.kept >= rule.dr_kept for candidate in own)
        lines += ["", f"## {method}", "", *_table([_row(candidate) for candidate in own])]
        lines += [] if kept else ["", f"None keeps {rule.dr_kept:g} % of Dr: the one that keeps most is taken."]
    lines += ["", "## Chosen", "", "```", yaml.safe_dump({"jobs": chosen_jobs(found)}, sort_keys=False).rstrip(), "```"]
    if problems:
        lines += ["", "## Not complete", "", *(f"- {problem}" for problem in problems)]
    return "\n".join(lines) + "\n"


def chosen_jobs(found: Sequence[Candidate]) -> dict[str, Any]:
    """The chosen settings as a run.jobs section."""
    jobs: dict[str, Any] = {}
    for candidate in found:
        if candidate.chosen:
            own = jobs.setdefault(candidate.method, {})
            for option in candidate.options:
                _put(own, option.removeprefix("run."))
    return jobs


def _put(section: dict[str, Any], option: str) -> None:
    key, _, value = option.partition("=")
    *path, last = key.split(".")
    for name in path:
        section = section.setdefault(name, {})
    try:
        section[last] = float(value) if "e" in value.lower() else yaml.safe_load(value)
    except ValueError:
        section[last] = value


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    chosen = [column.title for column in columns_used(SEARCH)]
    head = ["setting", *chosen, "Df R@1", "Dr R@1", "Dr kept %", "distance", "seconds"]
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def _numbers(metrics: Mapping[str, float]) -> list[str]:
    chosen = [f"{metrics[column.key]:.{column.decimals}f}" for column in columns_used(SEARCH)]
    return [*chosen, *(f"{recall(metrics, split):.1f}" for split in ("df", "dr"))]


def _reference_row(name: str, metrics: Mapping[str, float]) -> list[str]:
    return [name, *_numbers(metrics), "", "", ""]


def _row(candidate: Candidate) -> list[str]:
    name = ", ".join(option.removeprefix("run.").replace("=", " ") for option in candidate.options)
    name += " (out of date)" if candidate.doubt else ""
    seconds = sum(sum((run["seconds"] or {}).values()) for run in candidate.runs)
    cells = [name, *_numbers(candidate.metrics), f"{candidate.kept:.1f}", f"{candidate.distance:.3f}", f"{seconds:.0f}"]
    return [f"**{cell}**" for cell in cells] if candidate.chosen else cells
