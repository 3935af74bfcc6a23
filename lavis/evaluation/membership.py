"""Membership AUC of MultiDelete (arXiv 2311.12047, the "MIA"): do the scores of pairs distinguish Df from Dr?

At 0.5 they do not. Unlearning should reach the value of a model that never saw Df, not the lowest one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lavis.common.errors import DataError
from lavis.common.registry import registry
from lavis.evaluation.context import Context
from lavis.evaluation.inputs import as_array
from lavis.evaluation.metric import HEADLINE, RESIDUE, RETRIEVAL, SEARCH, Column, Metric


@registry.register_metric("membership")
class Membership(Metric):
    """`mia_auc` of the paired cosines, or of the confidences in the rows' answers."""

    columns = (
        Column(
            *("mia_auc", "membership AUC", "telling forget from retain pairs by similarity"),
            groups=(RETRIEVAL, RESIDUE),
            order=60,
            uses=(HEADLINE, SEARCH),
            gap="membership_gap",
        ),
    )
    kinds = ("pairs", "rows")
    splits = ("df", "dr")
    partitions = True
    per_epoch = True
    order = 30

    def __call__(self, context: Context) -> dict[str, float]:
        df, dr = (context.own_scores(split) for split in ("df", "dr"))
        if context.kind == "pairs":
            df, dr = pair_scores(df), pair_scores(dr)
        return {"mia_auc": mia_auc(df, dr)}


def pair_scores(cosines: torch.Tensor) -> torch.Tensor:
    """The score that `mia_auc` compares: sigmoid(⟨I, T⟩) of paired dot products (n,)."""
    return torch.sigmoid(cosines)


def mia_auc(df_scores: Any, dr_scores: Any, slices: int = 5) -> float:
    """Mean ROC-AUC of Df (label 0) against consecutive slices of Dr (label 1), each as long as Df.

    df_scores (n_df,) and dr_scores (n_dr,) are arrays, tensors or lists. If Dr has fewer than `slices` full slices,
    those count; if it has none, all of Dr counts once. A NaN score makes the result NaN. Raises DataError if either is
    empty, ValueError for slices < 1 or other shapes.
    """
    if slices < 1:
        raise ValueError(f"slices must be at least 1, got {slices}")
    df, dr = _scores(df_scores, "df"), _scores(dr_scores, "dr")
    if np.isnan(df).any() or np.isnan(dr).any():
        return float("nan")
    full = min(slices, len(dr) // len(df))
    parts = [dr[i * len(df) : (i + 1) * len(df)] for i in range(full)] or [dr]
    return float(np.mean([_auc(df, part) for part in parts]))


def _auc(negative: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive scores above a negative, a tie counting one half, from exact integer counts."""
    ordered = np.sort(negative)
    lower = np.searchsorted(ordered, positive, side="left").sum(dtype=np.int64)
    not_higher = np.searchsorted(ordered, positive, side="right").sum(dtype=np.int64)
    return float(lower + not_higher) / (2 * len(negative) * len(positive))


def _scores(values: Any, name: str) -> np.ndarray:
    array = as_array(values)
    if array.ndim != 1:
        raise ValueError(f"{name} scores need shape (n,), got {array.shape}")
    if not array.size:
        raise DataError(f"membership AUC: split '{name}' has no pairs; check run.df_size and the annotations")
    return array
