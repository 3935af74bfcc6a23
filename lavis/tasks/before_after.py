"""What unlearning changed, and what the numbers of few pairs can say, in sentences for the end of a run."""

from __future__ import annotations

from collections.abc import Mapping

FEW = 100  # pairs; among fewer, R@10 by guessing is above 10 %
LEAST_COSINE = 0.005
RECALL = [f"df_{way}_r{k}" for way in ("txt", "img") for k in (1, 5, 10)]
Numbers = Mapping[str, float]


def unchanged(before: Numbers, after: Numbers, pairs: float) -> list[str]:
    """A sentence if the forget set's recall and cosine are no lower than before; nothing if they are not known.

    before, after: metrics of the same splits; recall in per cent. pairs: those of the forget set.
    """
    known = [name for name in RECALL if name in before and name in after]
    if not known or not pairs:
        return []
    one_pair = 100 / pairs
    lower = any(before[name] - after[name] > one_pair + 1e-6 for name in known)
    if lower or before.get("df_cosine", 0.0) - after.get("df_cosine", 0.0) >= LEAST_COSINE:
        return []
    return [
        "recall and cosine of df are no lower than before, to within one pair: nothing measurable was forgotten. Raise "
        "the rate (run.init_lr) or train longer (run.max_epoch), or choose another method; and check that the original "
        "knew these rows: if it did not, there is nothing to forget"
    ]


def by_guessing(counts: Numbers, metrics: Numbers) -> list[str]:
    """A sentence about splits with so few pairs that guessing gives a high recall."""
    small = [split for split, pairs in counts.items() if f"{split}_txt_r10" in metrics and 0 < pairs < FEW]
    if not small:
        return []
    chances = [f"{split} {_chance(1, counts[split])}, {_chance(10, counts[split])}" for split in small]
    return [f"few pairs: by guessing, R@1 and R@10 in per cent would be: {'; '.join(chances)}"]


def _chance(k: int, pairs: float) -> str:
    return f"{100 * min(1.0, k / pairs):.0f}"
