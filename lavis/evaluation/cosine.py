"""Mean paired cosine of each split: how close images are to their own captions."""

from __future__ import annotations

from typing import Any

from lavis.common.registry import registry
from lavis.evaluation.context import Context
from lavis.evaluation.metric import HEADLINE, RETRIEVAL, SEARCH, Column, Metric


def _column(split: str, title: str, help: str, order: int, **more: Any) -> Column:
    return Column(f"{split}_cosine", f"{title} cosine", help, groups=(RETRIEVAL,), order=order, **more)


@registry.register_metric("cosine")
class Cosine(Metric):
    """The mean over a split's captions of the cosine with their own image."""

    split_columns = (Column("cosine", "cosine", "mean cosine of images with their own captions"),)
    columns = (
        _column("df", "forget", "mean cosine of forgotten images with their captions", 10, uses=(HEADLINE, SEARCH)),
        _column("dr", "retain", "mean cosine of retained images with their captions", 70),
        _column("holdout_association", "held-out facts", "other facts about the forgotten people", 130),
        _column("holdout_identity", "held-out people", "people who are not in the forget set", 140),
    )
    partitions = True
    per_epoch = True
    order = 20

    def __call__(self, context: Context) -> dict[str, float]:
        return {f"{split}_cosine": context.own_scores(split).mean().item() for split in context.splits}
