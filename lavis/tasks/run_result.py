"""A run's result: results.json, LAVIS's evaluate.txt and result/, and a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lavis.common.files import dispensable
from lavis.common.logger import get_logger, json_line
from lavis.common.results import FILE_NAME, SCHEMA, write_results
from lavis.evaluation.measure import all_columns, all_metrics
from lavis.evaluation.metric import Column
from lavis.runners.run_dir import command_line, git_commit
from lavis.settings.config import Config
from lavis.tasks.before_after import by_guessing, unchanged
from lavis.tasks.evaluations import record_evaluation

WIDTH = 22
NOTHING = (
    "nothing was measured: these data lack what run.metrics needs (the log names it); choose other metrics "
    "(multidelete zoo metrics), or say what was to be forgotten"
)


@dataclass
class RunResult:
    """A run's folder and numbers. `metrics` is empty if the run did not evaluate.

    `problem` says why the model's embeddings are unusable; empty for a sound model. `overridden`: what
    model.override_recipe replaced of the model's own recipe. `data` and `weights` are digests
    (lavis/tasks/evaluations.py), `notices` what a user should know about the data, `seeds` those of data, training,
    unlearning and evaluation, `before` the metrics of the model that unlearning started from (run.evaluate_before),
    `form` the library whose configuration the model has.
    """

    folder: Path
    checkpoint: str
    metrics: dict[str, float]
    counts: dict[str, int]
    seconds: dict[str, float]
    problem: str = ""
    overridden: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    notices: list[str] = field(default_factory=list)
    seeds: dict[str, Any] = field(default_factory=dict)
    before: dict[str, float] = field(default_factory=dict)
    form: str = ""

    def table(self) -> str:
        """A row per split with its metrics, then the other metrics, grouped by the report's tables."""
        columns = [c for metric in all_metrics().values() for c in metric.split_columns if self._splits(c)]
        lines = [
            "split".ljust(WIDTH) + "pairs".rjust(8) + "".join(column.title.rjust(_wide(column)) for column in columns)
        ]
        for split in dict.fromkeys(split for column in columns for split in self._splits(column)):
            if self.before:
                lines.append(self._row(split, columns, self.before, ", before"))
            lines.append(self._row(split, columns, self.metrics, ", after" if self.before else ""))
        notices = [f"note: {notice}" for notice in (*self._remarks(), *self.notices)]
        unusable = [] if self.sound else [self.failure]
        return "\n".join([*lines, *self._others(), *notices, *unusable, f"results: {self.folder / FILE_NAME}"]) + "\n"

    def _row(self, split: str, columns: list[Column], metrics: dict[str, float], when: str) -> str:
        cells = "".join(self._cell(f"{split}_{column.key}", column, metrics).rjust(_wide(column)) for column in columns)
        return f"{split}{when}".ljust(WIDTH) + str(self.counts.get(split, "")).rjust(8) + cells

    def _remarks(self) -> list[str]:
        """What the numbers can say, and whether anything was forgotten."""
        if self.problem:
            return []
        changes = unchanged(self.before, self.metrics, self.counts.get("df", 0))
        return [*changes, *by_guessing(self.counts, self.metrics)]

    def _splits(self, column: Column) -> list[str]:
        """The splits that have this number."""
        return [split for split in self.counts if f"{split}_{column.key}" in self.metrics]

    @property
    def sound(self) -> bool:
        """Whether the model is not broken, and its evaluation, if there was one, found any number."""
        return not self.failure

    @property
    def failure(self) -> str:
        """Why there is no number to trust; empty for a sound result."""
        if self.problem:
            return f"this model is broken, so it has no numbers: {self.problem}"
        return NOTHING if "evaluate" in self.seconds and not self.metrics else ""

    def _cell(self, key: str, column: Column, metrics: dict[str, float]) -> str:
        value = metrics.get(key)
        return "-" if value is None else "broken" if math.isnan(value) else f"{value:.{column.decimals}f}"

    def _others(self) -> Iterator[str]:
        """A line per table of the report, with the metrics that do not belong to a split."""
        per_split = {f"{s}_{c.key}" for m in all_metrics().values() for c in m.split_columns for s in self.counts}
        lines: dict[str, list[str]] = {}
        for column in all_columns():
            if column.groups and column.key in self.metrics and column.key not in per_split:
                text = f"{column.title} {self._cell(column.key, column, self.metrics)}"
                text += f" (before {self._cell(column.key, column, self.before)})" if column.key in self.before else ""
                lines.setdefault(column.groups[0].title, []).append(text)
        yield from (f"{title}: {', '.join(texts)}" for title, texts in lines.items())


def _wide(column: Column) -> int:
    return max(9, len(column.title) + 2)


def write_run_result(result: RunResult, config: Config, found: dict[str, Any]) -> None:
    """Write results.json (with the settings `found` in the run) and result/; append to evaluate.txt and log.txt."""
    folder, run = result.folder, config.run
    content = as_results(result, config, found, name=run.method or run.reference)
    try:
        record_evaluation(folder, content) if run.checkpoint else write_results(folder / FILE_NAME, content)
    except OSError:
        get_logger().error("results.json could not be written; the metrics are %s", json_line(result.metrics).strip())
        raise
    if result.metrics:
        with dispensable(f"a copy of the metrics in {folder}"):
            _write_copies(folder, result)


def as_results(result: RunResult, config: Config, found: dict[str, Any], name: str) -> dict[str, Any]:
    """The content of results.json (docs/results_schema.md)."""
    run = config.run
    return {
        "schema": SCHEMA,
        "name": name,
        "method": run.method,
        "backbone": config.backbone,
        "task": config.job_name,
        "df_size": found["df_size"],
        "df_seed": run.df_seed,
        "seed": run.seed,
        "seeds": result.seeds,
        "data": result.data,
        "weights": result.weights,
        "metrics": result.metrics,
        "counts": result.counts,
        "checkpoint": result.checkpoint,
        "commit": git_commit(),
        "command": command_line(),
        "seconds": result.seconds,
        "config": config.to_dict(**found),
        "overridden_recipe": list(result.overridden),
        "problem": result.problem,
        "finished": True,
        **({"before": result.before} if result.before else {}),
    }


def _write_copies(folder: Path, result: RunResult) -> None:
    """Write LAVIS's files: evaluate.txt and log.txt get a line, result/<split>.json the numbers of each split.

    A repeated evaluation with the same numbers adds no second line.
    """
    line = json_line(result.metrics)
    for name in ("evaluate.txt", "log.txt"):
        with (folder / name).open("a+", encoding="utf-8") as stream:
            stream.seek(0)
            if line not in stream:
                stream.write(line)
    _write_splits(folder / "result", result)


def _write_splits(folder: Path, result: RunResult) -> None:
    folder.mkdir(exist_ok=True)
    for split in result.counts:
        own = {name: value for name, value in result.metrics.items() if name.startswith(f"{split}_")}
        if own:
            (folder / f"{split}.json").write_text(json_line(own), encoding="utf-8")
