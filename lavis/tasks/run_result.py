"""What a run leaves behind: results.json, LAVIS's evaluate.txt and result/, and a table to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavis.common.config import Config
from lavis.common.logger import json_line
from lavis.common.results import FILE_NAME, SCHEMA, write_results
from lavis.common.run_dir import command_line, git_commit

RECALLS = ("txt_r1", "txt_r5", "txt_r10", "img_r1", "img_r5", "img_r10", "cosine")
ACCURACY = "_acc"


@dataclass
class RunResult:
    """Where a run's files are, and its numbers. `metrics` is empty when evaluation was switched off.

    `fault` says why the model's embeddings are worth nothing; empty for a sound model.
    """

    folder: Path
    checkpoint: str
    metrics: dict[str, float]
    counts: dict[str, int]
    seconds: dict[str, float]
    fault: str = ""

    def table(self) -> str:
        """Recall in percent and mean paired cosine of every split, or its accuracy, as text columns."""
        if any(name.endswith(ACCURACY) for name in self.metrics):
            return self._accuracies()
        splits = [name.removesuffix("_cosine") for name in self.metrics if name.endswith("_cosine")]
        splits += [n.removesuffix("_txt_r1") for n in self.metrics if n.endswith("_txt_r1")]
        lines = ["split".ljust(22) + "pairs".rjust(8) + "".join(name.rjust(9) for name in RECALLS)]
        for split in dict.fromkeys(splits):
            cells = "".join(self._cell(split, name).rjust(9) for name in RECALLS)
            lines.append(split.ljust(22) + str(self.counts.get(split, "")).rjust(8) + cells)
        return "\n".join([*lines, *self._rest()]) + "\n"

    def _accuracies(self) -> str:
        lines = ["split".ljust(22) + "rows".rjust(8) + "accuracy".rjust(10) + "confidence".rjust(12)]
        for split in [name.removesuffix(ACCURACY) for name in self.metrics if name.endswith(ACCURACY)]:
            numbers = f"{self.metrics[split + ACCURACY]:10.2f}{self.metrics[split + '_confidence']:12.4f}"
            lines.append(split.ljust(22) + str(self.counts.get(split, "")).rjust(8) + numbers)
        return "\n".join([*lines, *self._rest()]) + "\n"

    def _rest(self) -> list[str]:
        found = "mia_auc" in self.metrics
        membership = [f"membership AUC (Df against Dr): {self.metrics['mia_auc']:.4f}"] if found else []
        return [*membership, f"results: {self.folder / FILE_NAME}"]

    def _cell(self, split: str, name: str) -> str:
        value = self.metrics.get(f"{split}_{name}")
        return "-" if value is None else f"{value:.3f}" if name == "cosine" else f"{value:.2f}"


def write_run_result(outcome: RunResult, config: Config) -> None:
    """Write results.json, and append the metrics to evaluate.txt and log.txt, per split under result/."""
    folder, run = outcome.folder, config.run
    if outcome.metrics:
        line = json_line(outcome.metrics)
        for name in ("evaluate.txt", "log.txt"):
            with (folder / name).open("a", encoding="utf-8") as stream:
                stream.write(line)
        _write_splits(folder / "result", outcome.metrics)
    write_results(folder / FILE_NAME, as_results(outcome, config, name=run.method or run.reference))


def as_results(outcome: RunResult, config: Config, name: str) -> dict[str, Any]:
    """The content of results.json (docs/results_schema.md)."""
    run = config.run
    return {
        "schema": SCHEMA,
        "name": name,
        "method": run.method,
        "backbone": config.backbone,
        "task": config.job_name,
        "df_size": run.df_size,
        "df_seed": run.df_seed,
        "seed": run.seed,
        "metrics": outcome.metrics,
        "counts": outcome.counts,
        "checkpoint": outcome.checkpoint,
        "commit": git_commit(),
        "command": command_line(),
        "seconds": outcome.seconds,
        "config": config.to_dict(),
        "finished": True,
    }


def _write_splits(folder: Path, metrics: dict[str, float]) -> None:
    folder.mkdir(exist_ok=True)
    splits = {name.removesuffix(end) for end in ("_cosine", ACCURACY) for name in metrics if name.endswith(end)}
    for split in splits:
        own = {name: value for name, value in metrics.items() if name.startswith(f"{split}_")}
        (folder / f"{split}.json").write_text(json_line(own), encoding="utf-8")
