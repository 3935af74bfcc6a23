"""The candidates of a search and the rule that chooses among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lavis.settings.declaration import setting


@dataclass(frozen=True)
class Rule:
    """How a candidate is chosen: the sweep file's key `search`.

    A candidate is good if it keeps at least `dr_kept` percent of the compromised model's recall@1 on Dr (mean of both
    directions), and if at most `df_left` percent are left of what compromised's recall@1 on Df has above the target's.
    Among the good ones, the one with the smallest `distance` from the reference `target` is chosen: the mean of the
    absolute differences of df_cosine, of recall@1 on Df (as a fraction) and of the membership AUC. If none is good,
    none is chosen. `out`: path of the written tables without their suffix.
    """

    dr_kept: float = setting(95.0, "percent of compromised's recall on Dr that a candidate keeps", least=0, most=100)
    df_left: float = setting(10.0, "percent of the recall on Df to forget that may be left", least=0, most=100)
    target: str = setting("retrained", "the reference to come close to", choices=("retrained", "clean"))
    out: str = setting("output/search/search", "path of the written tables without their suffix")


@dataclass
class Candidate:
    """A method's point of the grid with its metrics (means over the seeds); `chosen` by the rule.

    `kept` and `left` are the rule's percentages; `left` is NaN if compromised and the target have the same recall.
    `doubt`: why its jobs would have other results now; empty if they would not.
    """

    method: str
    point: str
    options: list[str]
    metrics: dict[str, float]
    kept: float
    left: float
    distance: float
    runs: list[dict[str, Any]]
    chosen: bool = False
    doubt: str = ""

    @property
    def name(self) -> str:
        """The settings as a table shows them: `init_lr 1e-4, weights.forget 0.1`."""
        return ", ".join(option.removeprefix("run.").replace("=", " ") for option in self.options)

    def keeps(self, rule: Rule) -> bool:
        """Whether enough recall on Dr is kept."""
        return self.kept >= rule.dr_kept

    def forgot(self, rule: Rule) -> bool:
        """Whether little enough recall on Df is left."""
        return self.left <= rule.df_left


def recall(metrics: Mapping[str, float], split: str) -> float:
    """recall@1, mean of both directions, in percent."""
    return (metrics[f"{split}_txt_r1"] + metrics[f"{split}_img_r1"]) / 2
