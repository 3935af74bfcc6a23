"""Retrieval recall, image to text and text to image, in percent.

txt_r<k> is the share of images with one of their captions among the k best texts, img_r<k> the share of texts with
their image among the k best. lavis.evaluation.ranking has the rules for ties and NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lavis.common import distributed
from lavis.common.registry import registry
from lavis.evaluation.context import Context, PairContext
from lavis.evaluation.inputs import as_array
from lavis.evaluation.metric import DISTANCE, HEADLINE, RETRIEVAL, Column, Metric
from lavis.evaluation.partitions import SplitPartition
from lavis.evaluation.ranking import Reduce, ranks_from_features, ranks_from_rows
from lavis.evaluation.recall import recall_summary
from lavis.evaluation.reranking import matched_recall

RANKED_SPLITS = ("test", "df", "dr")
SHOWN = ("txt_r1", "txt_r5", "txt_r10", "img_r1", "img_r5", "img_r10")


def _column(split: str, modality: str, help: str, order: int, **more: Any) -> Column:
    title = f"{dict(df='forget', dr='retain', test='test')[split]} {modality} R@1"
    key = f"{split}_{modality}_r1"
    return Column(key, title, help, 1, groups=(RETRIEVAL,), order=order, percent=True, **more)


@registry.register_metric("retrieval")
class Retrieval(Metric):
    """Recall of the evaluated splits test, df and dr, and of the data set's test and validation splits.

    Models with a fusion encoder (ALBEF, BLIP) rank by matching, others by cosine. With run.merge_equal_captions, an
    image with an equal caption matches too.
    """

    split_columns = tuple(
        Column(name, name, "recall in percent", 2, percent=True, uses=(HEADLINE,) if name.endswith("_r1") else ())
        for name in SHOWN
    )
    columns = (
        _column("df", "txt", "forgotten images whose own caption ranks first, percent", 40),
        _column("df", "img", "forgotten captions whose own image ranks first, percent", 50),
        _column("dr", "txt", "retained images whose own caption ranks first, percent", 80, uses=(DISTANCE,)),
        _column("dr", "img", "retained captions whose own image ranks first, percent", 90),
        _column("test", "txt", "unseen images whose own caption ranks first, percent", 110),
        _column("test", "img", "unseen captions whose own image ranks first, percent", 120),
        Column(
            *("test_r_mean", "test recall", "mean of recall at 1, 5 and 10 in both directions on unseen pairs", 2),
            groups=(),
            percent=True,
            uses=(HEADLINE,),
        ),
    )
    partitions = True
    per_epoch = True
    order = 10

    def __call__(self, context: Context) -> dict[str, float]:
        assert isinstance(context, PairContext)
        ranked = {*RANKED_SPLITS, *context.builder.test_splits, *context.run.valid_splits}
        return {
            f"{split}_{name}": value
            for split in context.splits
            if split in ranked
            for name, value in recall_of(context, split).items()
        }


def recall_of(context: PairContext, split: str) -> dict[str, float]:
    """`recall_summary` of a split, by matching or by cosine."""
    part = context.features(split)
    if isinstance(part, SplitPartition):
        return recall_summary(*part.ranks(context.ranking_device))
    if not context.model.features.joint_of_towers:
        return matched_recall(context.model, context.dataset(split), part, context.run, context.device)
    return retrieval_metrics_from_features(
        part.image.to(context.ranking_device),
        part.text.to(context.ranking_device),
        part.txt2img,
        text_group=part.text_group if context.run.merge_equal_captions else None,
        shard=(distributed.rank(), distributed.world_size()),
        reduce=distributed.sum_counts,
    )


def retrieval_metrics(scores_i2t: Any, scores_t2i: Any, txt2img: Any, img2txt: Any) -> dict[str, float]:
    """Recall from two score matrices, (n_img, n_txt) and (n_txt, n_img), arrays or tensors.

    txt2img maps each text to its image (or images), img2txt each image to its texts: mappings by index, or sequences.
    An image without a text is a miss. Raises ValueError if shapes and maps do not fit.
    """
    i2t, t2i = as_array(scores_i2t), as_array(scores_t2i)
    if i2t.ndim != 2 or t2i.shape != i2t.shape[::-1]:
        raise ValueError(f"scores need shapes (n_img, n_txt) and (n_txt, n_img), got {i2t.shape} and {t2i.shape}")
    text_ranks = ranks_from_rows(i2t, _own_columns(img2txt, i2t.shape, "img2txt"))
    image_ranks = ranks_from_rows(t2i, _own_columns(txt2img, t2i.shape, "txt2img"))
    return recall_summary(text_ranks, image_ranks)


def retrieval_metrics_from_features(
    image: torch.Tensor | np.ndarray,
    text: torch.Tensor | np.ndarray,
    txt2img: Any,
    *,
    block: int | None = None,
    text_group: Any = None,
    shard: tuple[int, int] = (0, 1),
    reduce: Reduce | None = None,
) -> dict[str, float]:
    """Recall from features (n_img, D) and (n_txt, D) without an n_img × n_txt matrix, equal on all processes.

    Takes the arguments of `ranks_from_features`; txt2img may also be a mapping from text index to image index.
    """
    if isinstance(txt2img, Mapping):
        txt2img = np.array([txt2img[j] for j in range(len(text))], dtype=np.int64)
    ranks = ranks_from_features(image, text, txt2img, block=block, text_group=text_group, shard=shard, reduce=reduce)
    return recall_summary(*ranks)


def _own_columns(own: Mapping | Sequence | np.ndarray, shape: tuple[int, ...], name: str) -> list[np.ndarray]:
    """Matching columns of each row of scores (n, m), distinct and checked to lie in 0 … m − 1."""
    n, m = shape
    if not isinstance(own, Mapping) and len(own) != n:
        raise ValueError(f"{name} has {len(own)} entries, the scores have {n} rows")
    entries = [own.get(i, ()) if isinstance(own, Mapping) else own[i] for i in range(n)]
    columns = [np.unique(np.atleast_1d(np.asarray(entry, dtype=np.int64))) for entry in entries]
    outside = [i for i, c in enumerate(columns) if c.size and (c[0] < 0 or c[-1] >= m)]
    if outside:
        raise ValueError(f"{name}[{outside[0]}] must lie in 0..{m - 1}, got {columns[outside[0]].tolist()}")
    return columns
