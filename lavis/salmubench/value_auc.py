"""Value AUC (ours): does the model still distinguish the true value of a fact from fictitious ones?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lavis.common.errors import DataError
from lavis.common.registry import registry
from lavis.common.seed import derived_seed
from lavis.datasets.annotations import Entry
from lavis.evaluation.inputs import TIE, paired_rows, row_numbers, row_products, unit_rows
from lavis.evaluation.metric import Column, NotMeasured
from lavis.salmubench.data import UNSEEN, BenchmarkData
from lavis.salmubench.fictitious_values import HINT, FakerValues, Values, persona_values
from lavis.salmubench.metric import PREFIX, Numbers, SalmuMetric, people_column, summarised
from lavis.salmubench.splits import identity_of

COUNT = 19  # fictitious captions per pair: the true one is then one in twenty


@registry.register_metric("value_auc")
class ValueAuc(SalmuMetric):
    """Over forget's pairs whose caption contains the value literally; 0.5 is chance, 1 full memory, 0 a trace too."""

    columns = (
        Column(PREFIX + "value_auc", "value AUC", "true value among fictitious ones; 0.5 is chance", groups=()),
        people_column("value_auc_whole", "value AUC whole", "true value among fictitious ones; 0.5 is chance", 90),
        people_column("value_auc_partial", "value AUC partial", "the same for partial identities", 100),
    )
    order = 105

    def values(self, data: BenchmarkData) -> Numbers:
        forget, pool = data.part("forget"), _pool(data)
        others = []
        for entry, caption in zip(forget.entries, forget.captions, strict=True):
            field = str(entry.extra.get("field"))
            locale = data.people.get(identity_of(entry, "forget"), {}).get("locale")
            drawn = {field: pool(field, locale)} if entry.extra.get("value") else {}
            others.append(fictitious_captions(entry, caption, drawn, seed=data.choices.seed))
        usable = [row for row, texts in enumerate(others) if texts]
        if not usable:
            raise NotMeasured("no caption of split 'forget' contains its row's 'value', or no field has other values")
        rows = data.texts([text for row in usable for text in others[row]], "value AUC")
        owner = np.repeat(np.arange(len(usable)), [len(others[row]) for row in usable])
        part = forget.only(usable)
        return summarised(data, part, "value_auc", value_aucs(part.image, part.text, rows, owner))


def _pool(data: BenchmarkData) -> Values:
    if data.has(UNSEEN):
        return persona_values(data.json(UNSEEN)["identities"])
    real = {str(entry.extra.get("value")) for entry in data.splits["forget"]}
    try:
        return FakerValues(real, data.choices.seed)
    except ImportError as error:
        raise NotMeasured(f"fictitious values need Faker: {HINT}") from error


def fictitious_captions(
    entry: Entry, caption: str, values: Mapping[str, Sequence[str]], *, count: int = COUNT, seed: int = 42
) -> list[str]:
    """At most `count` versions of the entry's caption with another value in place of the true one.

    values: field → distinct values to draw from, sorted; the true one is left out. Empty if the caption does not have
    the value in it literally (a paraphrase) or the field has no other value. The draw depends only on the seed and the
    image's name.
    """
    value, pool = str(entry.extra.get("value") or ""), values.get(str(entry.extra.get("field")), ())
    if not value or caption.count(value) != 1:
        return []
    own = bisect_left(pool, value)
    known = own < len(pool) and pool[own] == value
    rng = np.random.default_rng(derived_seed(seed, "salmubench", "value", entry.image))
    drawn = rng.permutation(len(pool) - known)[:count]
    return [caption.replace(value, pool[i + (known and i >= own)]) for i in drawn]


def value_aucs(image: Any, text: Any, other: Any, owner: Any) -> np.ndarray:
    """Value AUC (ours, not SALMUBench's) of each pair, (n,).

    The share of fictitious captions (same name and wording, another value) that are less similar to the image than the
    true caption, a tie counting one half: 0.5 is chance, 1 full memory, and 0 a trace as well. image (n, D) and text
    (n, D) are paired; other (m, D), the fictitious captions; owner (m,), the pair of each.

    Raises DataError as `unit_rows` and for a pair without a fictitious caption; ValueError on shapes.
    """
    images, texts = paired_rows(image, text, "value AUC")
    others = unit_rows(other, "value AUC fictitious captions")
    owner = row_numbers(owner, len(others), "owner")
    if owner.min() < 0 or owner.max() >= len(images):
        raise ValueError(f"owner must lie in 0..{len(images) - 1}, got {owner.min()}..{owner.max()}")
    count = np.bincount(owner, minlength=len(images))
    if not count.all():
        raise DataError(f"value AUC: {int((count == 0).sum())} pairs have no fictitious caption; leave them out")
    lead = row_products(images, texts)[owner] - row_products(images, others, owner)
    won = np.where(np.abs(lead) <= TIE, 0.5, lead > 0)
    return np.bincount(owner, weights=won, minlength=len(images)) / count
