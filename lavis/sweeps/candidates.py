"""The candidates of a search and the rule that chooses among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lavis.settings.declaration import setting


@dataclass(frozen=True)
class Rule:
    """How a candidate is chosen: the sweep file's key `search`.

    Among the candidates that keep at least `dr_kept` percent of the compromised model's recall@1 on Dr (mean of both
    directions), the one with the smallest `distance` from the reference `target`: the mean of the absolute differences
    of df_cosine, of recall@1 on Df (as a fraction) and of the membership AUC. If no candidate keeps that much, the one
    that keeps most. `out`: path of the written tables without their suffix.
    """

    dr_kept: float = setting(95.0, "percent of compromised's recall on Dr that a candidate keeps", least=0, most=100)
    target: str = setting("retrained", "the reference to come close to", choices=("retrained", "clean"))
    out: str = setting("output/search/search", "path of the written tables without their suffix")


@dataclass
class Candidate:
    """A method's point of the grid with its metrics (means over the seeds); `chosen` by the rule.

    `doubt`: why its jobs would have other results now; empty if they would not.
    """

    method: str
    point: str
    options: list[str]
    metrics: dict[str, float]
    kept: float
    distance: float
    runs: list[dict[str, Any]]
    chosen: bool = False
    doubt: str = ""


def recall(metrics: Mapping[str, float], split: str) -> float:
    """recall@1, mean of both directions, in percent."""
    return (metrics[f"{split}_txt_r1"] + metrics[f"{split}_img_r1"]) / 2
