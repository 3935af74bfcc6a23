"""Mean paired cosine: how close each image is to its own captions, split by split."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.context import Context
from lavis.evaluation.metric import HEADLINE, RETRIEVAL, SEARCH, Column, Metric


@registry.register_metric("cosine")
class Cosine(Metric):
    """The mean over captions of the cosine with their own image, of every split."""

    split_columns = (Column("cosine", "cosine", "mean cosine of images with their own captions"),)
    columns = (
        Column(
            *("df_cosine", "forget cosine", "mean cosine of forgotten images with their captions"),
            groups=(RETRIEVAL,),
            order=10,
            uses=(HEADLINE, SEARCH),
        ),
        Column(
            *("dr_cosine", "retain cosine", "mean cosine of retained images with their captions"),
            groups=(RETRIEVAL,),
            order=70,
        ),
        Column(
            *("holdout_association_cosine", "held-out facts cosine", "other facts about the forgotten people"),
            groups=(RETRIEVAL,),
            order=130,
        ),
        Column(
            *("holdout_identity_cosine", "held-out people cosine", "people who are not in the forget set"),
            groups=(RETRIEVAL,),
            order=140,
        ),
    )
    partitions = True
    per_epoch = True
    order = 20

    def __call__(self, context: Context) -> dict[str, float]:
        return {f"{split}_cosine": context.own_scores(split).mean().item() for split in context.splits}
