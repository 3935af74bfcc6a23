"""Tasks that are measured row by row: a question, statement or hypothesis about an image is answered rightly or not."""

from __future__ import annotations

import math
from typing import Any

import torch

from lavis.common.config import Config
from lavis.common.errors import ConfigError
from lavis.datasets.annotations import Entry
from lavis.evaluation.rowwise import by_row, summary
from lavis.models.base import BaseModel, Inputs
from lavis.tasks.base import BaseTask

MEMBERSHIP = "membership"
KNOWN = ("accuracy", MEMBERSHIP, "retrieval", "cosine")  # the last two mean nothing here, but they are defaults


class RowwiseTask(BaseTask):
    """Accuracy of every split, and how sure the model is of the rows' own answers.

    Subclasses give `measure`. Splits are run.test_splits, df, and dr as the builder samples it.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        for name in self.run.metrics:
            if name not in KNOWN:
                raise ConfigError(
                    f"run.metrics: '{name}' is not measured for run.task {self.run.task}; accuracy always is, "
                    f"{MEMBERSHIP} where it is named"
                )

    def measure(self, model: Any, inputs: Inputs, entries: list[Entry]) -> torch.Tensor:
        """Correctness in [0, 1] and confidence in the own answer of B rows, (B, 2)."""
        raise NotImplementedError

    def metrics(self, model: BaseModel) -> tuple[dict[str, float], dict[str, int]]:
        """As BaseTask's."""
        splits = self.builder.evaluation_entries()
        rows = {split: self._rows(model, split, entries) for split, entries in splits.items()}
        if any(not torch.isfinite(values).all() for values in rows.values()):
            self.fault = "the model's answers are not finite numbers"
        return summary(rows, MEMBERSHIP in self.run.metrics), {split: len(values) for split, values in rows.items()}

    def validation(self, model: BaseModel) -> dict[str, float]:
        splits = self.run.valid_splits
        stats = summary({split: self._rows(model, split, self.builder.entries(split)) for split in splits}, False)
        scores = [stats[f"{split}_agg_metrics"] for split in splits]
        stats["agg_metrics"] = sum(scores) / len(scores) if all(map(math.isfinite, scores)) else -math.inf
        return stats

    def _rows(self, model: BaseModel, split: str, entries: list[Entry]) -> torch.Tensor:
        dataset = self.builder.dataset(entries, "eval")

        def measure(batch: dict[str, Any]) -> torch.Tensor:
            inputs = {key: self._moved(value) for key, value in model.prepare(batch).items()}
            return self.measure(model, inputs, [dataset.entries[i] for i in batch["index"].tolist()])

        return by_row(model, dataset, measure, self.run.batch_size_eval, self.run.num_workers, split)

    def _moved(self, value: Any) -> Any:
        return value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
