"""RetFail: the rank at which an image finds its true caption among 2,001 texts.

The texts are the caption itself, 1,000 texts of the forget split and 1,000 of retain_disjoint. They have their own
seeded generator, so that all evaluations rank against the same texts, whatever was drawn before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lavis.common.errors import ConfigError, DataError, suggest
from lavis.common.registry import registry
from lavis.common.seed import derived_seed
from lavis.evaluation.inputs import TIE, UnitRows, paired_rows, row_numbers
from lavis.evaluation.metric import DOWN, HEADLINE, Column, NotMeasured
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.metric import PREFIX, Numbers, SalmuMetric, people_column, people_of, summarised, ten_column

COUNT = 1000
BLOCK = 1024
NOBODY = -1
TIES = {"pessimistic": 1.0, "mean": 0.5, "optimistic": 0.0}


@registry.register_metric("retfail")
class RetFail(SalmuMetric):
    """SALMUBench 1.1, the primary efficacy; also without the own identity's other captions (ours)."""

    columns = (
        ten_column(
            *("retfail_r1", "RetFail R@1", "true caption first among itself, forget and retain texts", 10),
            decimals=4,
            direction=DOWN,
            public=("efficacy", "1.1_RetFail", "R@1"),
            published=("0", "0.1016"),
        ),
        ten_column(
            *("retfail_mrr", "RetFail MRR", "the same as mean reciprocal rank; the primary efficacy", 20),
            decimals=4,
            direction=DOWN,
            uses=(HEADLINE,),
            public=("efficacy", "1.1_RetFail", "MRR"),
            published=("0.0008", "0.2361"),
        ),
        people_column(
            *("retfail_mrr_others", "RetFail apart", "RetFail MRR, own identity's other captions left out", 60),
            decimals=4,
        ),
        Column(PREFIX + "retfail_mrr_whole", "RetFail MRR whole", "RetFail MRR of whole identities", 4, groups=()),
    )
    order = 100

    def values(self, data: BenchmarkData) -> Numbers:
        forget, choices = data.part("forget"), data.choices
        others, _ = data.captions("retain_disjoint")
        if not others:
            raise NotMeasured("split 'retain_disjoint' is missing or empty")
        numbers: dict[str, int] = {}
        keys, other_keys = (
            np.array([numbers.setdefault(text, len(numbers)) for text in texts]) for texts in (forget.captions, others)
        )
        owners = np.unique(people_of(forget), return_inverse=True)[1]
        rows = data.texts(others, "retain_disjoint")
        drawn = draw_distractors(
            forget.text, keys, owners, rows, other_keys, seed=choices.seed, count=choices.distractors
        )
        plain, apart = (
            retfail_ranks(
                *(forget.image, forget.text, keys, drawn),
                leave_out=left_out,
                drop_equal=choices.retfail_own_caption == "drop",
            )
            for left_out in (None, owners)
        )
        return {
            "retfail_r1": float((plain == 1).mean()),
            **summarised(data, forget, "retfail_mrr", 1 / plain),
            **summarised(data, forget, "retfail_mrr_others", 1 / apart),
        }


@dataclass(frozen=True, slots=True)
class Distractors:
    """The drawn texts: text (m, D) of unit length; keys (m,), one number per string; identity (m,) or NOBODY."""

    text: np.ndarray
    keys: np.ndarray
    identity: np.ndarray


def draw_distractors(
    text: Any,
    keys: Any,
    identity: Any,
    disjoint_text: Any,
    disjoint_keys: Any,
    *,
    seed: int = 42,
    count: int = COUNT,
) -> Distractors:
    """Draw `count` of forget's texts (n, D) and as many of retain_disjoint's (k, D), or all, without replacement.

    keys number the strings of both splits, with the same number for equal strings; identity (n,) numbers forget's
    people. Raises DataError as `unit_rows`, ValueError on shapes.
    """
    forget, disjoint = UnitRows(text, "RetFail forget texts"), UnitRows(disjoint_text, "RetFail retain_disjoint")
    keys, identity = row_numbers(keys, len(forget), "keys"), row_numbers(identity, len(forget), "identity")
    disjoint_keys = row_numbers(disjoint_keys, len(disjoint), "disjoint_keys")
    rng = np.random.default_rng(derived_seed(seed, "salmubench", "retfail"))
    mine, others = (rng.permutation(len(rows))[:count] for rows in (forget, disjoint))
    return Distractors(
        np.concatenate([forget[mine], disjoint[others]]),
        np.concatenate([keys[mine], disjoint_keys[others]]),
        np.concatenate([identity[mine], np.full(len(others), NOBODY)]),
    )


def retfail_ranks(
    image: Any,
    text: Any,
    keys: Any,
    distractors: Distractors,
    *,
    drop_equal: bool = True,
    ties: str = "pessimistic",
    leave_out: Any = None,
) -> np.ndarray:
    """Rank of each true caption, (n,) float64, 1 is first. Scores are cosines.

    image (n, D), text (n, D), keys (n,): the paired queries. Choices:
    - drop_equal: texts equal to the caption do not compete. Otherwise a caption that was drawn ties with itself.
    - ties ("pessimistic", "mean", "optimistic"): a tied text, closer than 1e-9, counts as 1, ½ or 0 ranks.
    - leave_out (None, or identities (n,)): texts of the query's own identity do not compete (NOBODY owns none).

    Raises ConfigError for an unknown choice; DataError if embeddings are collapsed or not finite, or a query has no
    competitor; ValueError on shapes.
    """
    if ties not in TIES:
        raise ConfigError(f"RetFail: ties is '{ties}'; {suggest(ties, TIES)}")
    images, texts = paired_rows(image, text, "RetFail")
    keys = row_numbers(keys, len(images), "keys")
    owners = None if leave_out is None else row_numbers(leave_out, len(images), "leave_out")
    ranks = np.empty(len(images))
    for start in range(0, len(images), BLOCK):
        rows = slice(start, start + BLOCK)
        queries = images[rows]
        own = (queries * texts[rows]).sum(axis=1, keepdims=True)
        lead = queries @ distractors.text.T - own
        rivals = _rivals(keys[rows], None if owners is None else owners[rows], distractors, drop_equal)
        if not rivals.any(axis=1).all():
            raise DataError("RetFail: a caption has no text to compete with; forget and retain_disjoint are too small")
        above, tied = (lead > TIE) & rivals, (np.abs(lead) <= TIE) & rivals
        ranks[rows] = 1 + above.sum(axis=1) + TIES[ties] * tied.sum(axis=1)
    return ranks


def _rivals(keys: np.ndarray, owners: np.ndarray | None, drawn: Distractors, drop_equal: bool) -> np.ndarray:
    """Which drawn texts compete with which caption, (n, m) bool."""
    rivals = np.ones((len(keys), len(drawn.keys)), dtype=bool)
    if drop_equal:
        rivals &= keys[:, None] != drawn.keys
    if owners is not None:
        rivals &= (owners[:, None] != drawn.identity) | (owners[:, None] == NOBODY)
    return rivals
