"""The numbers of a model: recall per split, membership AUC, mean paired cosines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lavis.common import distributed
from lavis.common.errors import ConfigError, DataError, suggest
from lavis.embedding.embed import SplitFeatures
from lavis.evaluation.inputs import unit_rows
from lavis.evaluation.membership import mia_auc, pair_scores
from lavis.evaluation.partitions import SplitPartition
from lavis.evaluation.retrieval import recall_summary, retrieval_metrics_from_features

RETRIEVAL = "retrieval"
SALMUBENCH = "salmubench"  # measured by lavis.salmubench, on splits of its own
INT8 = "int8"  # some of those after int8 quantisation
RELEARNING = "relearning"  # how what was forgotten comes back, by lavis.salmubench.relearning
METRICS = (RETRIEVAL, "membership", "cosine", SALMUBENCH, INT8, RELEARNING)
RANKED_SPLITS = ("test", "df", "dr")
DECIMALS = 6


def evaluate_splits(
    features: Mapping[str, SplitFeatures] | Mapping[str, SplitPartition], run: Any, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Metrics of the splits by flat names, rounded to 6 decimals, equal on all processes.

    run.metrics chooses among retrieval ("<split>_txt_r1" … "<split>_agg_metrics" for test, df, dr and whatever
    run.test_splits and run.valid_splits name), membership ("mia_auc", where df and dr are there) and cosine
    ("<split>_cosine" of every split). run.merge_equal_captions: an image that bears an equal caption is right.
    salmubench, int8 and relearning are measured by modules of their own and add nothing here. `device` is where the
    ranking is counted. Splits may be whole or in shards (`embed_partitions`; their plans have heeded
    run.merge_equal_captions). A metric of embeddings that are not finite may be NaN.

    All processes must call it together. Raises ConfigError on an unknown metric, DataError on an empty split.
    """
    check_metrics(run)
    for split, part in features.items():
        if not len(part.txt2img):
            raise DataError(f"split '{split}' has no pairs to evaluate; check its annotation file")
    metrics: dict[str, float] = {}
    if RETRIEVAL in run.metrics:
        metrics |= _retrieval(features, run, torch.device(device))
    if "cosine" in run.metrics:
        metrics |= {f"{split}_cosine": part.paired_cosines.mean().item() for split, part in features.items()}
    if "membership" in run.metrics:
        metrics |= _membership(features)
    return {name: round(value, DECIMALS) for name, value in metrics.items()}


def check_metrics(run: Any) -> None:
    """Refuse metrics that do not exist, and validation without recall, which chooses the best epoch."""
    for name in run.metrics:
        if name not in METRICS:
            raise ConfigError(f"run.metrics names '{name}'; {suggest(name, METRICS)}")
    if run.valid_splits and RETRIEVAL not in run.metrics:
        raise ConfigError("run.valid_splits chooses the best epoch by recall: add retrieval to run.metrics")


def check_partitions(run: Any, towers: bool) -> None:
    """Refuse run.shard_features with what needs whole features; `towers`: the model's joint features are of towers.

    Raises ConfigError.
    """
    if not run.shard_features:
        return
    whole = [name for name in run.metrics if name in (SALMUBENCH, INT8, RELEARNING)]
    if whole:
        raise ConfigError(f"run.shard_features=true cannot measure {', '.join(whole)}: take them out of run.metrics")
    if not towers:
        raise ConfigError(
            "run.shard_features=true is for models of two towers; this one ranks by matching: set it to false"
        )


def embedding_fault(features: Mapping[str, SplitFeatures]) -> str:
    """Why a model's embeddings are worth nothing (not finite, or all equal), or an empty text."""
    for side in ("image", "text"):
        try:
            unit_rows(torch.cat([getattr(part, side) for part in features.values()]), f"{side} embeddings")
        except DataError as error:
            return str(error)
    return ""


def ranked_splits(run: Any) -> set[str]:
    """The splits whose recall is measured, where they are there."""
    return {*RANKED_SPLITS, *run.test_splits, *run.valid_splits}


def _retrieval(features: Mapping[str, Any], run: Any, device: torch.device) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for split, part in features.items():
        if split in ranked_splits(run):
            metrics |= {f"{split}_{name}": value for name, value in _recall(part, run, device).items()}
    return metrics


def _recall(part: SplitFeatures | SplitPartition, run: Any, device: torch.device) -> dict[str, float]:
    if isinstance(part, SplitPartition):
        return recall_summary(*part.ranks(device))
    return retrieval_metrics_from_features(
        part.image.to(device),
        part.text.to(device),
        part.txt2img,
        text_group=part.text_group if run.merge_equal_captions else None,
        shard=(distributed.rank(), distributed.world_size()),
        reduce=distributed.sum_counts,
    )


def _membership(features: Mapping[str, Any]) -> dict[str, float]:
    if not {"df", "dr"} <= set(features):
        return {}
    df, dr = (pair_scores(features[split].paired_cosines) for split in ("df", "dr"))
    return {"mia_auc": mia_auc(df, dr)}
