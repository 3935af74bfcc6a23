"""Tasks that are answered row by row: each question or statement about an image is answered correctly or not."""

from __future__ import annotations

import functools
from typing import Any

import torch

from lavis.common import distributed
from lavis.common.transfer import move
from lavis.datasets.annotations import Entry
from lavis.datasets.loaders import chunk_count, eval_loader
from lavis.embedding.embed import evaluating, progress_bar
from lavis.evaluation.context import Context, RowContext
from lavis.models.base import BaseModel, Inputs
from lavis.tasks.base import BaseTask, Splits


class RowwiseTask(BaseTask):
    """Accuracy of each split, and confidence in the rows' true answers. Subclasses implement `measure`."""

    kind = "rows"
    always = ("accuracy",)

    def measure(self, model: Any, inputs: Inputs, entries: list[Entry]) -> torch.Tensor:
        """Correctness in [0, 1] and confidence in the true answer of B rows, (B, 2)."""
        raise NotImplementedError

    def context(self, model: BaseModel, splits: Splits, validating: bool = False) -> Context:
        scores = functools.partial(self._rows, model)
        return RowContext(model, self.builder, self.run, self.device, splits, scores=scores)

    def _rows(self, model: BaseModel, split: str, entries: list[Entry]) -> torch.Tensor:
        """`measure` of all rows, (n, 2) float64 on the CPU, the same for any number of processes (fixed chunks)."""
        dataset, size = self.builder.dataset(entries, "eval"), self.run.batch_size_eval
        chunks = list(range(distributed.rank(), chunk_count(len(dataset), size), distributed.world_size()))
        loader = eval_loader(dataset, size, self.run.num_workers, chunks)
        measured: dict[int, torch.Tensor] = {}
        with evaluating(model), torch.no_grad():
            for batch in progress_bar(loader, len(chunks), split):
                inputs = move(model.prepare(batch), self.device)
                rows = [dataset.entries[i] for i in batch["index"].tolist()]
                measured[int(batch["chunk"])] = self.measure(model, inputs, rows).double().cpu()
        return distributed.gather_chunks(measured)
