"""Measures each row of a split, with the same result for any number of processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lavis.common import distributed
from lavis.datasets.loaders import chunk_count, eval_loader
from lavis.datasets.pairs import PairDataset
from lavis.embedding.embed import evaluating, progress_bar

Measure = Callable[[dict[str, Any]], torch.Tensor]


def by_row(
    model: Any, dataset: PairDataset, measure: Measure, batch_size: int, num_workers: int = 0, name: str = ""
) -> torch.Tensor:
    """Apply `measure`, from a batch of the data set to (B, M), to all rows: (n, M) float64 on the CPU.

    The model is in evaluation mode, without gradients. Fixed chunks of batch_size rows are divided among the processes,
    which must call it together; all of them receive all rows.
    """
    chunks = list(range(distributed.rank(), chunk_count(len(dataset), batch_size), distributed.world_size()))
    loader = eval_loader(dataset, batch_size, num_workers, chunks)
    with evaluating(model), torch.no_grad():
        bar = progress_bar(loader, len(chunks), name)
        return distributed.gather_chunks({int(batch["chunk"]): measure(batch).double().cpu() for batch in bar})
