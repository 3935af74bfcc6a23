"""Writes the results of a search: a JSON file, and a table of all candidates with the chosen ones marked."""

from __future__ import annotations

import dataclasses
import logging
import math
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
        f"A setting is good if it keeps at least {rule.dr_kept:g} % of the compromised model's recall@1 on Dr, and if",
        f"at most {rule.df_left:g} % of what that model's recall@1 on Df has above *{rule.target}*'s is left. The good",
        f"setting nearest to *{rule.target}* on Df is chosen. Distance: mean of the absolute differences of the",
        "cosine, of recall@1 (as a fraction) and of the membership AUC. Recall is the mean of both directions, in",
        "percent. Only Df and Dr are used: the jobs run with `run.read_holdouts=false`.",
        "",
        *_table([_reference_row(name, metrics) for name, metrics in references.items()]),
    ]
    for method in dict.fromkeys(candidate.method for candidate in found):
        own = [candidate for candidate in found if candidate.method == method]
        lines += ["", f"## {method}", "", *_table([_row(candidate) for candidate in own])]
        lines += [] if any(candidate.chosen for candidate in own) else ["", why_none(own, rule)]
    lines += ["", "## Chosen", "", *_chosen(found)]
    if problems:
        lines += ["", "## Not complete", "", *(f"- {problem}" for problem in problems)]
    return "\n".join(lines) + "\n"


def why_none(own: Sequence[Candidate], rule: Rule) -> str:
    """What was tried for a method without a good setting, and what the best ones lack."""
    tried = f"{len(own)} setting{'s' if len(own) > 1 else ''} tried, none is good."
    finite = [c for c in own if math.isfinite(c.distance) and math.isfinite(c.kept)]
    if not finite:
        return f"{tried} None has finite numbers."
    if not any(math.isfinite(c.left) for c in finite):
        return (
            f"{tried} The target's recall on Df is as high as compromised's, so that nothing shows what was forgotten."
        )
    return f"{tried} {_best_that_keeps(finite, rule)} {_best_that_forgot(finite, rule)}"


def _best_that_keeps(found: Sequence[Candidate], rule: Rule) -> str:
    keeping = [candidate for candidate in found if candidate.keeps(rule)]
    if keeping:
        best = min(keeping, key=lambda candidate: candidate.left)
        return f"Of those that keep enough of Dr, {best.name} forgets most: {best.left:.1f} % of Df is left."
    best = max(found, key=lambda candidate: candidate.kept)
    return f"None keeps enough of Dr; {best.name} keeps most: {best.kept:.1f} %."


def _best_that_forgot(found: Sequence[Candidate], rule: Rule) -> str:
    forgot = [candidate for candidate in found if candidate.forgot(rule)]
    if forgot:
        best = max(forgot, key=lambda candidate: candidate.kept)
        return f"Of those that forgot, {best.name} keeps most: {best.kept:.1f} % of Dr."
    best = min(found, key=lambda candidate: candidate.left)
    return f"None forgot; {best.name} forgets most: {best.left:.1f} % of Df is left."


def _chosen(found: Sequence[Candidate]) -> list[str]:
    """The chosen settings as YAML, and the methods without one."""
    jobs = chosen_jobs(found)
    without = [method for method in dict.fromkeys(c.method for c in found) if method not in jobs]
    block = ["```", yaml.safe_dump({"jobs": jobs}, sort_keys=False).rstrip(), "```"] if jobs else []
    said = (
        f"No good setting for {', '.join(without)}: see above what was tried, and try other values." if without else ""
    )
    return [*block, *([""] if block and said else []), *([said] if said else [])]


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
    head = ["setting", *chosen, "Df R@1", "Dr R@1", "Df left %", "Dr kept %", "distance", "seconds"]
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def _numbers(metrics: Mapping[str, float]) -> list[str]:
    chosen = [f"{metrics[column.key]:.{column.decimals}f}" for column in columns_used(SEARCH)]
    return [*chosen, *(f"{recall(metrics, split):.1f}" for split in ("df", "dr"))]


def _reference_row(name: str, metrics: Mapping[str, float]) -> list[str]:
    return [name, *_numbers(metrics), "", "", "", ""]


def _row(candidate: Candidate) -> list[str]:
    name = candidate.name + (" (out of date)" if candidate.doubt else "")
    seconds = sum(sum((run["seconds"] or {}).values()) for run in candidate.runs)
    percentages = f"{candidate.left:.1f}", f"{candidate.kept:.1f}"
    cells = [name, *_numbers(candidate.metrics), *percentages, f"{candidate.distance:.3f}", f"{seconds:.0f}"]
    return [f"**{cell}**" for cell in cells] if candidate.chosen else cells
