"""Tasks that are measured row by row: a question, statement or hypothesis about an image is answered rightly or not."""

from __future__ import annotations

from typing import Any

import torch

from lavis.datasets.annotations import Entry
from lavis.evaluation.context import Context, RowContext
from lavis.evaluation.rowwise import by_row
from lavis.models.base import BaseModel, Inputs
from lavis.tasks.base import BaseTask, Splits


class RowwiseTask(BaseTask):
    """Accuracy of every split, and how sure the model is of the rows' own answers. Subclasses give `measure`."""

    kind = "rows"
    always = ("accuracy",)

    def measure(self, model: Any, inputs: Inputs, entries: list[Entry]) -> torch.Tensor:
        """Correctness in [0, 1] and confidence in the own answer of B rows, (B, 2)."""
        raise NotImplementedError

    def context(self, model: BaseModel, splits: Splits, validating: bool = False) -> Context:
        def scores(split: str, entries: list[Entry]) -> torch.Tensor:
            return self._rows(model, split, entries)

        return RowContext(model, self.builder, self.run, self.device, splits, scores=scores)

    def _rows(self, model: BaseModel, split: str, entries: list[Entry]) -> torch.Tensor:
        dataset = self.builder.dataset(entries, "eval")

        def measure(batch: dict[str, Any]) -> torch.Tensor:
            inputs = {key: self._moved(value) for key, value in model.prepare(batch).items()}
            return self.measure(model, inputs, [dataset.entries[i] for i in batch["index"].tolist()])

        return by_row(model, dataset, measure, self.run.batch_size_eval, self.run.num_workers, split)

    def _moved(self, value: Any) -> Any:
        return value.to(self.device, non_blocking=True) if isinstance(value, torch.Tensor) else value
