"""Numbers of every row of a split, the same for any number of processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tqdm import tqdm

from lavis.common import distributed
from lavis.datasets.loaders import chunk_count, eval_loader
from lavis.datasets.pairs import PairDataset
from lavis.embedding.embed import evaluating

Measure = Callable[[dict[str, Any]], torch.Tensor]


def by_row(
    model: Any, dataset: PairDataset, measure: Measure, batch_size: int, num_workers: int = 0, name: str = ""
) -> torch.Tensor:
    """`measure` of every row: batches as the data set gives them to (B, M), together (n, M), float64 on the CPU.

    The model is in evaluation mode meanwhile and has no gradients. Fixed chunks of batch_size rows are divided among
    the processes, which must call it together and all receive everything.
    """
    chunks = list(range(distributed.rank(), chunk_count(len(dataset), batch_size), distributed.world_size()))
    silent = None if distributed.is_main() else True  # None: silent where stderr is no terminal
    loader = eval_loader(dataset, batch_size, num_workers, chunks)
    with evaluating(model), torch.no_grad():
        bar = tqdm(loader, total=len(chunks), desc=name, unit="batch", leave=False, disable=silent)
        own = {int(batch["chunk"]): measure(batch).double().cpu() for batch in bar}
    return distributed.gather_chunks(own)
