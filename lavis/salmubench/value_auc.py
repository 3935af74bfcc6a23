"""Value AUC (ours): does the model still distinguish the true value of a fact from fictitious ones?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lavis.common.errors import DataError
from lavis.common.registry import registry
from lavis.common.seed import derived_seed
from lavis.datasets.annotations import Entry
from lavis.evaluation.inputs import (
    TIE,
    Soundness,
    as_array,
    paired_rows,
    row_numbers,
    row_products,
)
from lavis.evaluation.metric import Column, NotMeasured
from lavis.salmubench.data import UNSEEN, BenchmarkData, Part
from lavis.salmubench.fictitious_values import HINT, FakerValues, Values, persona_values
from lavis.salmubench.metric import PREFIX, Numbers, SalmuMetric, people_column, summarised
from lavis.salmubench.splits import identity_of

COUNT = 19  # fictitious captions per pair: the true one is then one in twenty
PAIRS = 4096  # pairs whose fictitious captions are in memory at a time


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
        forget, draw = data.part("forget"), _Draw(data, _pool(data))
        pairs = zip(forget.entries, forget.captions, strict=True)
        usable = [row for row, (entry, caption) in enumerate(pairs) if draw(entry, caption, 1)]
        if not usable:
            raise NotMeasured("no caption of split 'forget' contains its row's 'value', or no field has other values")
        part = forget.only(usable)
        return summarised(data, part, "value_auc", value_aucs(part.image, part.text, _fictitious(data, part, draw)))


class _Draw:
    """`fictitious_captions` of the data's rows, at most `count` of each."""

    def __init__(self, data: BenchmarkData, pool: Values) -> None:
        self.people, self.pool, self.seed = data.people, pool, data.choices.seed

    def __call__(self, entry: Entry, caption: str, count: int = COUNT) -> list[str]:
        field = str(entry.extra.get("field"))
        locale = self.people.get(identity_of(entry, "forget"), {}).get("locale")
        values = {field: self.pool(field, locale)} if entry.extra.get("value") else {}
        return fictitious_captions(entry, caption, values, count=count, seed=self.seed)


def _fictitious(data: BenchmarkData, part: Part, draw: _Draw) -> Iterator[tuple[torch.Tensor, np.ndarray]]:
    """The embeddings of all fictitious captions (m, D) and the pair of each (m,), some pairs at a time.

    There are twenty times as many as pairs: those beyond the cache's limit are not remembered.
    """
    store = data.bank.store.has_room(COUNT * len(part.entries))
    for start in range(0, len(part.entries), PAIRS):
        rows = slice(start, start + PAIRS)
        texts = [draw(*pair) for pair in zip(part.entries[rows], part.captions[rows], strict=True)]
        owner = np.repeat(np.arange(start, start + len(texts)), [len(drawn) for drawn in texts])
        yield data.texts([text for drawn in texts for text in drawn], "value AUC", store=store), owner


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


def value_aucs(image: Any, text: Any, parts: Iterable[tuple[Any, Any]]) -> np.ndarray:
    """Value AUC (ours, not SALMUBench's) of each pair, (n,).

    The share of fictitious captions (same name and wording, another value) that are less similar to the image than the
    true caption, a tie counting one half: 0.5 is chance, 1 full memory, and 0 a trace as well. image (n, D) and text
    (n, D) are paired. Each part is some fictitious captions (m, D) and the pair of each (m,).

    Raises DataError as `unit_rows` and for a pair without a fictitious caption; ValueError on shapes.
    """
    images, texts = paired_rows(image, text, "value AUC")
    true = row_products(images, texts)
    count, won = np.zeros(len(images), dtype=np.int64), np.zeros(len(images))
    drawn = Soundness()
    for other, owner in parts:
        others = as_array(other)
        owner = row_numbers(owner, len(others), "owner")
        if owner.min() < 0 or owner.max() >= len(images):
            raise ValueError(f"owner must lie in 0..{len(images) - 1}, got {owner.min()}..{owner.max()}")
        drawn.add(others)
        lead = true[owner] - row_products(images, others, owner)
        won += np.bincount(owner, np.where(np.abs(lead) <= TIE, 0.5, lead > 0), minlength=len(images))
        count += np.bincount(owner, minlength=len(images))
    drawn.refuse("value AUC fictitious captions")
    if not count.all():
        raise DataError(f"value AUC: {int((count == 0).sum())} pairs have no fictitious caption; leave them out")
    return won / count
