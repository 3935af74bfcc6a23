"""Several checkpoints evaluated by one command: their names, and a table with one row each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from lavis.common.logger import get_logger
from lavis.tasks.base import checkpoint_label
from lavis.tasks.run_result import RunResult

COLUMNS = {
    "salmubench_retfail_mrr": "RetFail MRR",
    "salmubench_x_mrr": "X MRR",
    "salmubench_assoc_str": "AssocStr",
    "salmubench_acs": "ACS",
    "salmubench_gen_know": "GenKnow",
    "salmubench_imagenet": "ImageNet",
    "salmubench_inter_id_sim": "InterIdSim",
    "salmubench_intra_id_sim": "IntraIdSim",
    "test_r_mean": "test recall",
    "df_cosine": "df cosine",
    "mia_auc": "MIA AUC",
}


def distinct_labels(paths: Sequence[str]) -> dict[str, str]:
    """A name for every distinct path: its own, with as many of its folders before it as tell it from the others."""
    labels = {path: checkpoint_label(path) for path in paths}
    for depth in range(2, 2 + max(len(PurePath(path).parts) for path in labels)):
        counts = Counter(labels.values())
        for path, label in labels.items():
            parts = PurePath(path).parent.parts[1 - depth :]
            if counts[label] > 1:
                labels[path] = "-".join([part.strip("/") for part in parts if part != "/"] + [checkpoint_label(path)])
    return labels


class Comparison:
    """The rows of the table: an evaluated checkpoint's numbers, or why it has none."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, RunResult | None, str]] = []

    @property
    def sound(self) -> bool:
        """True when every checkpoint was evaluated and gives usable embeddings."""
        return not any(reason for _, _, reason in self.rows)

    def add(self, label: str, outcome: RunResult) -> None:
        if outcome.fault:
            get_logger().error("%s is broken: %s", outcome.checkpoint, outcome.fault)
        self.rows.append((label, outcome, outcome.fault and "broken, see above"))

    def fail(self, label: str, path: str, error: Exception) -> None:
        """Note a checkpoint that could not be evaluated, and say why, in one line."""
        reason = " ".join(str(error).split())
        get_logger().error("%s was not evaluated: %s", path, reason)
        self.rows.append((label, None, "failed, see above"))

    def text(self) -> str:
        """The table: a column for each of COLUMNS that any checkpoint has, "-" where one has no such number."""
        found = [outcome.metrics for _, outcome, _ in self.rows if outcome]
        names = [name for name in COLUMNS if any(name in metrics for metrics in found)]
        width = max(len("checkpoint"), *(len(label) for label, _, _ in self.rows)) + 2
        lines = ["checkpoint".ljust(width) + "".join(COLUMNS[name].rjust(13) for name in names)]
        for label, outcome, reason in self.rows:
            cells = "".join(_cell(outcome, name).rjust(13) for name in names)
            lines.append((label.ljust(width) + cells + (f"  {reason}" if reason else "")).rstrip())
        lines += [f"results: {outcome.folder / 'results.json'}" for _, outcome, _ in self.rows if outcome]
        return "\n".join(lines) + "\n"


def _cell(outcome: RunResult | None, name: str) -> str:
    value = outcome.metrics.get(name) if outcome else None
    return "-" if value is None else "broken" if math.isnan(value) else f"{value:.4f}"
