"""Several checkpoints evaluated by one command: their labels, and a table with one row per checkpoint."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from lavis.common.logger import get_logger
from lavis.evaluation.measure import headline
from lavis.report.same_data import differing, groups
from lavis.tasks.checkpoints import checkpoint_label
from lavis.tasks.run_result import RunResult

WIDTH = 13


def distinct_labels(paths: Sequence[str]) -> dict[str, str]:
    """A label for each distinct path: its name, with as many of its folders as needed to distinguish it."""
    labels = {path: checkpoint_label(path) for path in paths}
    for depth in range(2, 2 + max(len(PurePath(path).parts) for path in labels)):
        counts = Counter(labels.values())
        for path, label in labels.items():
            parts = PurePath(path).parent.parts[1 - depth :]
            if counts[label] > 1:
                labels[path] = "-".join([part.strip("/") for part in parts if part != "/"] + [checkpoint_label(path)])
    return labels


class Comparison:
    """Evaluated checkpoints, each with its result or the reason why it has none; `several` share one table."""

    def __init__(self, several: bool = True) -> None:
        self.several = several
        self.rows: list[tuple[str, RunResult | None, str]] = []

    @property
    def results(self) -> list[RunResult]:
        """The results of the checkpoints that could be evaluated."""
        return [result for _, result, _ in self.rows if result is not None]

    @property
    def sound(self) -> bool:
        """True if every checkpoint was evaluated, has numbers, and is not broken."""
        return not any(reason for _, _, reason in self.rows)

    def add(self, label: str, result: RunResult) -> None:
        if result.problem:
            get_logger().error("%s is broken: %s", result.checkpoint, result.problem)
        reason = "broken, see above" if result.problem else "" if result.sound else "nothing was measured, see above"
        self.rows.append((label, result, reason))

    def fail(self, label: str, path: str, error: Exception) -> None:
        """Record a checkpoint that could not be evaluated, and log the reason in one line."""
        reason = " ".join(str(error).split())
        get_logger().error("%s was not evaluated: %s", path, reason)
        self.rows.append((label, None, "failed, see above"))

    def text(self) -> str:
        """The table, with a column for each headline metric that any checkpoint has; "-" if one lacks it.

        Checkpoints that were measured on other data (of another forget list, say) have a table of their own.
        """
        if not self.several:
            return self.results[0].table()
        columns = list(dict.fromkeys(c for result in self.results for c in headline(result.metrics, result.counts)))
        width = max(len("checkpoint"), *(len(label) for label, _, _ in self.rows)) + 2
        widths = {column: max(WIDTH, len(column.title) + 2) for column in columns}
        heads = "".join(column.title.rjust(n) for column, n in widths.items())
        lines: list[str] = []
        first, *others = groups(self.rows, _data)
        for group in (first, *others):
            if group is not first:
                unlike = ", ".join(differing(_data(first[0]), _data(group[0])))
                lines += ["", f"measured on other data ({unlike} differ), so not comparable with the rows above:"]
            lines.append("checkpoint".ljust(width) + heads)
            for label, result, reason in group:
                cells = "".join(_cell(result, column.key).rjust(n) for column, n in widths.items())
                lines.append((label.ljust(width) + cells + (f"  {reason}" if reason else "")).rstrip())
        lines += [f"results: {result.folder / 'results.json'}" for result in self.results]
        return "\n".join(lines) + "\n"


def _data(row: tuple[str, RunResult | None, str]) -> dict[str, Any]:
    return row[1].data if row[1] is not None else {}


def _cell(result: RunResult | None, name: str) -> str:
    value = result.metrics.get(name) if result else None
    return "-" if value is None else "broken" if math.isnan(value) else f"{value:.4f}"
