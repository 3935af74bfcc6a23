"""Chooses settings from a grid for every method, judged on the forget and retain sets alone.

    python bash/run.py --search configs/sweep/salmu_mini_search.yaml

The jobs run with run.read_holdouts=false and without a test split, so that no holdout is opened during the choice; of
the references' results only the numbers on Df and Dr are used (`visible`). `Rule` is the rule.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.evaluation.measure import columns_used
from lavis.evaluation.metric import SEARCH
from lavis.report.numbers import is_number
from lavis.settings.layers import naming
from lavis.settings.validation import build
from lavis.sweeps.candidates import Candidate, Rule, recall
from lavis.sweeps.console import EXIT_FAILED, STOPPED, list_jobs, run_jobs
from lavis.sweeps.evaluations import reference_result
from lavis.sweeps.jobs import Job, read_results
from lavis.sweeps.plan import Cell, Setting, compose, expand, settings, start_of
from lavis.sweeps.pool import Pool, Tell
from lavis.sweeps.references import missing_originals, published
from lavis.sweeps.schema import SweepConfig
from lavis.sweeps.search_report import write_search

SEARCH_OPTIONS = ("run.metrics=[cosine,retrieval,membership]", "run.test_splits=[]", "run.read_holdouts=false")
SMALL = 0.01  # a target whose recall on Df is this near to compromised's leaves nothing to forget
RECALLS = ("df_txt_r1", "df_img_r1", "dr_txt_r1", "dr_img_r1")


def search(
    sweep: SweepConfig, pool: Callable[[], Pool], dry_run: bool = False, report_only: bool = False, rerun: bool = False
) -> int:
    """Run the grid and write the choice; returns a sweep's exit code. Raises ConfigError, MissingFile."""
    rule, setting = read_rule(sweep), _only_setting(sweep)
    cells = expand(closed(sweep, setting))
    if dry_run:
        list_jobs([cell.job for cell in cells], rerun)
        return 0
    start, aim = reference_numbers(sweep, setting, "compromised"), reference_numbers(sweep, setting, rule.target)
    code, problems = 0, []
    if not report_only:
        results, code = run_jobs([cell.job for cell in cells], pool(), outcome(cells, start, aim, rule))
        if code >= STOPPED:
            return code
        problems = [f"{r.job.name} failed: {' '.join(r.tail[-1:])}" for r in results if r.status == "failed"]
    points = candidates(cells, start, aim)
    if not (points or code):
        raise MissingFile(
            f"{sweep.source}: no point of the grid has results; run: python bash/run.py --search {sweep.source}"
        )
    doubts = [f"{point.method} {point.point}: {point.doubt}" for point in points if point.doubt]
    choose(points, rule)
    write_search(Path(rule.out), sweep, rule, {"compromised": start, rule.target: aim}, points, [*problems, *doubts])
    return max(code, EXIT_FAILED if doubts else 0)


def read_rule(sweep: SweepConfig) -> Rule:
    """The sweep's `search` section. Raises ConfigError for unknown keys, wrong values and methods without a grid."""
    with naming(sweep.source):
        rule = build(Rule, sweep.search, "search")
    without = [method for method in sweep.methods if method not in sweep.grid]
    if without:
        raise ConfigError(f"{sweep.source}: 'grid' has nothing to choose from for {', '.join(without)}")
    return rule


def _only_setting(sweep: SweepConfig) -> Setting:
    places = settings(sweep)
    if len(places) != 1 or sweep.budgets or sweep.reference_seeds != "configured":
        raise ConfigError(
            f"{sweep.source}: a search is for one backbone, task, df size and budget and the configured references; "
            "it varies 'grid' alone"
        )
    return places[0]


def closed(sweep: SweepConfig, setting: Setting) -> SweepConfig:
    """The sweep with the options of a search: holdouts closed, Df and Dr evaluated, run folders below search/."""
    config = compose(setting.cfg_path, tuple(sweep.options))
    if not published(config) and missing_originals(sweep, [setting]):
        raise MissingFile(f"there is no original model yet; train it with: bash bash/ori.sh {setting.cfg_path}")
    start = published(config) or start_of(sweep, setting, None).as_posix()
    options = [f"run.output_dir={config.run.output_dir}/search", f"run.resume_ckpt_path={start}", *SEARCH_OPTIONS]
    return dataclasses.replace(sweep, options=[*sweep.options, *options])


def visible(results: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that the choice may use: those on Df and Dr, and the membership AUC between the two.

    What is not a finite number counts as NaN.
    """
    used, metrics = {column.key for column in columns_used(SEARCH)}, results.get("metrics")
    given = metrics if isinstance(metrics, dict) else {}
    allowed = {k: v for k, v in given.items() if k.startswith(("df_", "dr_")) or k in used}
    return {key: float(value) if is_number(value) else math.nan for key, value in allowed.items()}


def needed() -> list[str]:
    """The metrics that candidates and references must have."""
    return [*(column.key for column in columns_used(SEARCH)), *RECALLS]


def reference_numbers(sweep: SweepConfig, setting: Setting, name: str) -> dict[str, float]:
    """The visible metrics of a reference. Raises MissingFile if any is missing, DataError if it is broken."""
    folder = reference_result(sweep, setting, name).folder
    results = read_results(folder)
    if results.get("problem"):
        raise DataError(f"{name} in {folder} is broken, so nothing can be compared with it: {results['problem']}")
    metrics = visible(results)
    if any(key not in metrics for key in needed()):
        raise MissingFile(f"{name} has no complete results in {folder}; train it with: bash bash/ori.sh")
    return metrics


def candidates(cells: Sequence[Cell], start: Mapping[str, float], aim: Mapping[str, float]) -> list[Candidate]:
    """The points of the grid that have results, in order, averaged over seeds."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.job.finished:
            groups.setdefault((cell.method, cell.variant.point), []).append(cell)
    found = []
    for (method, point), group in groups.items():
        results = [read_results(cell.job.folder) for cell in group]
        parts = [visible(result) for result in results]
        metrics = {key: sum(part.get(key, math.nan) for part in parts) / len(parts) for key in needed()}
        kept = 100 * recall(metrics, "dr") / recall(start, "dr")
        runs = [{key: result.get(key) for key in ("seed", "commit", "command", "seconds")} for result in results]
        options = list(group[0].variant.options)
        doubt = next(filter(None, (cell.job.doubt() for cell in group)), "")
        left, gap = recall_left(metrics, start, aim), distance(metrics, aim)
        found.append(Candidate(method, point, options, metrics, kept, left, gap, runs, doubt=doubt))
    return found


def recall_left(metrics: Mapping[str, float], start: Mapping[str, float], aim: Mapping[str, float]) -> float:
    """How much of what there is to forget is left of recall@1 on Df, in percent; NaN if there is nothing to forget."""
    most, least = recall(start, "df"), recall(aim, "df")
    return 100 * (recall(metrics, "df") - least) / (most - least) if most - least > SMALL * most else math.nan


def outcome(cells: Sequence[Cell], start: Mapping[str, float], aim: Mapping[str, float], rule: Rule) -> Tell:
    """For the log: what a finished job's point forgot and kept, by its own seed alone."""
    by_folder = {cell.job.folder: cell for cell in cells}

    def tell(job: Job) -> str:
        (point,) = candidates([by_folder[job.folder]], start, aim)
        word = "good" if point.forgot(rule) and point.keeps(rule) else "not good"
        return f"{word}: {point.left:.1f} % of the recall on Df is left, {point.kept:.1f} % of that on Dr is kept"

    return tell


def distance(metrics: Mapping[str, float], aim: Mapping[str, float]) -> float:
    """Mean absolute difference of the metrics with use SEARCH (df_cosine, membership) and of recall@1 on Df."""
    gaps = [abs(metrics[column.key] - aim[column.key]) for column in columns_used(SEARCH)]
    gaps.append(abs(recall(metrics, "df") - recall(aim, "df")) / 100)
    return sum(gaps) / len(gaps)


def choose(found: Sequence[Candidate], rule: Rule) -> None:
    """Mark the good candidate nearest to the target for each method that has a good one."""
    for method in dict.fromkeys(candidate.method for candidate in found):
        finite = [c for c in found if c.method == method and math.isfinite(c.distance)]
        good = [c for c in finite if c.keeps(rule) and c.forgot(rule)]
        if good:
            min(good, key=lambda c: c.distance).chosen = True
