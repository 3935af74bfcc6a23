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
from lavis.evaluation.membership import mia_auc

CORRECT, CONFIDENCE = 0, 1  # columns
DECIMALS = 6
Measure = Callable[[dict[str, Any]], torch.Tensor]


def by_row(
    model: Any, dataset: PairDataset, measure: Measure, batch_size: int, num_workers: int = 0, name: str = ""
) -> torch.Tensor:
    """`measure` of every row: batches as the data set gives them to (B, M), together (n, M), float64 on the CPU.

    The model is in evaluation mode for the while and has no gradients. Canonical chunks of batch_size rows are
    divided among the processes, which must call it together and all receive everything.
    """
    chunks = list(range(distributed.rank(), chunk_count(len(dataset), batch_size), distributed.world_size()))
    silent = None if distributed.is_main() else True  # None: silent where stderr is no terminal
    loader = eval_loader(dataset, batch_size, num_workers, chunks)
    with evaluating(model), torch.no_grad():
        bar = tqdm(loader, total=len(chunks), desc=name, unit="batch", leave=False, disable=silent)
        own = {int(batch["chunk"]): measure(batch).double().cpu() for batch in bar}
    return distributed.gather_chunks(own)


def summary(rows: dict[str, torch.Tensor], membership: bool = True) -> dict[str, float]:
    """Metrics of splits from their rows (n, 2): correctness in [0, 1] and confidence.

    "<split>_acc" and "<split>_agg_metrics" (its name in LAVIS) in percent, "<split>_confidence" (a mean), and, with
    `membership` and both df and dr there, "mia_auc": can Df be told from Dr by the confidence in the row's own answer.
    """
    metrics: dict[str, float] = {}
    for split, values in rows.items():
        accuracy = 100 * float(values[:, CORRECT].mean())
        metrics |= {f"{split}_acc": accuracy, f"{split}_agg_metrics": accuracy}
        metrics[f"{split}_confidence"] = float(values[:, CONFIDENCE].mean())
    if membership and {"df", "dr"} <= rows.keys():
        metrics["mia_auc"] = mia_auc(rows["df"][:, CONFIDENCE], rows["dr"][:, CONFIDENCE])
    return {name: round(value, DECIMALS) for name, value in metrics.items()}
