"""Recall in percent from ranks."""

from __future__ import annotations

import numpy as np

CUTOFFS = (1, 5, 10)


def recall_summary(text_ranks: np.ndarray, image_ranks: np.ndarray) -> dict[str, float]:
    """Recall at 1, 5 and 10 and their means from ranks (0 is first) of texts (n_img,) and images (n_txt,)."""
    summary: dict[str, float] = {}
    for prefix, ranks in (("txt", text_ranks), ("img", image_ranks)):
        recalls = [100.0 * int(np.count_nonzero(ranks < k)) / max(len(ranks), 1) for k in CUTOFFS]
        summary |= {f"{prefix}_r{k}": recall for k, recall in zip(CUTOFFS, recalls, strict=True)}
        summary[f"{prefix}_r_mean"] = sum(recalls) / len(recalls)
    summary["r_mean"] = (summary["txt_r_mean"] + summary["img_r_mean"]) / 2
    summary["agg_metrics"] = summary["txt_r_mean"]
    return summary
