"""The rules of lavis.evaluation.ranking written as loops, for comparison."""

from __future__ import annotations

import math

import numpy as np

from lavis.evaluation.ranking import MISSED


def rank(scores: np.ndarray, right: set[int]) -> int:
    """Rank of the best matching column in a row: the number of competitors that are not strictly lower."""
    own = [float(scores[j]) for j in right if not math.isnan(scores[j])]
    if not own or max(own) == -math.inf:
        return MISSED
    return sum(1 for j in range(len(scores)) if j not in right and not float(scores[j]) < max(own))


def ranks(scores: np.ndarray, txt2img: np.ndarray, text_group: np.ndarray | None) -> tuple[list[int], list[int]]:
    """Both directions' ranks from one score matrix (n_img, n_txt)."""
    n_img, n_txt = scores.shape
    group = list(range(n_txt)) if text_group is None else list(text_group)
    own = [{group[j] for j in range(n_txt) if txt2img[j] == i} for i in range(n_img)]
    texts = [{j for j in range(n_txt) if group[j] in own[i]} for i in range(n_img)]
    images = [{i for i in range(n_img) if group[j] in own[i]} for j in range(n_txt)]
    return (
        [rank(scores[i], texts[i]) for i in range(n_img)],
        [rank(scores[:, j], images[j]) for j in range(n_txt)],
    )


def auc(df: list[float], dr: list[float]) -> float:
    """Share of pairs that Dr wins, a tie counting one half."""
    won = sum(1.0 if r > f else 0.5 if r == f else 0.0 for f in df for r in dr)
    return won / (len(df) * len(dr))
