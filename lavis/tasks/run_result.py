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
from lavis.tasks.evaluations import record_evaluation

WIDTH = 22


@dataclass
class RunResult:
    """A run's folder and numbers. `metrics` is empty if the run did not evaluate.

    `problem` says why the model's embeddings are unusable; empty for a sound model. `overridden`: what
    model.override_recipe replaced of the model's own recipe. `data` and `weights` are digests
    (lavis/tasks/evaluations.py), `notices` what a user should know about the data, `seeds` those of data, training,
    unlearning and evaluation.
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

    def table(self) -> str:
        """A row per split with its metrics, then the other metrics, grouped by the report's tables."""
        columns = [c for metric in all_metrics().values() for c in metric.split_columns if self._splits(c)]
        lines = [
            "split".ljust(WIDTH) + "pairs".rjust(8) + "".join(column.title.rjust(_wide(column)) for column in columns)
        ]
        for split in dict.fromkeys(split for column in columns for split in self._splits(column)):
            cells = "".join(self._cell(f"{split}_{column.key}", column).rjust(_wide(column)) for column in columns)
            lines.append(split.ljust(WIDTH) + str(self.counts.get(split, "")).rjust(8) + cells)
        notices = [f"note: {notice}" for notice in self.notices]
        broken = [f"this model is broken, so it has no numbers: {self.problem}"] if self.problem else []
        return "\n".join([*lines, *self._others(), *notices, *broken, f"results: {self.folder / FILE_NAME}"]) + "\n"

    def _splits(self, column: Column) -> list[str]:
        """The splits that have this number."""
        return [split for split in self.counts if f"{split}_{column.key}" in self.metrics]

    @property
    def sound(self) -> bool:
        """Whether the model was not found to be broken."""
        return not self.problem

    def _cell(self, key: str, column: Column) -> str:
        value = self.metrics.get(key)
        return "-" if value is None else "broken" if math.isnan(value) else f"{value:.{column.decimals}f}"

    def _others(self) -> Iterator[str]:
        """A line per table of the report, with the metrics that do not belong to a split."""
        per_split = {f"{s}_{c.key}" for m in all_metrics().values() for c in m.split_columns for s in self.counts}
        lines: dict[str, list[str]] = {}
        for column in all_columns():
            if column.groups and column.key in self.metrics and column.key not in per_split:
                text = f"{column.title} {self._cell(column.key, column)}"
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
