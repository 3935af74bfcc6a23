"""What SALMUBench's metrics share: their suite, their tables, and means over people.

Selvas-Sala, Kang and Gomez, "SALMUBench", CVPR 2026, arXiv 2603.26316. Values are fractions, not percent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from lavis.datasets.annotations import Entry
from lavis.datasets.metadata import IDENTITIES as IDENTITIES_FILE
from lavis.evaluation.context import Context
from lavis.evaluation.inputs import paired_cosines
from lavis.evaluation.metric import Group, Metric, NotMeasured
from lavis.salmubench.bootstrap import clustered_interval
from lavis.salmubench.data import BenchmarkData, Part
from lavis.salmubench.splits import identity_of

SUITE = "salmubench"
PREFIX = "salmubench_"
TEN = Group("The ten metrics", 10, suite=SUITE, published=True)
IDENTITIES = Group("Whole and partial identities", 20, suite=SUITE)
Numbers = dict[str, float]


class SalmuMetric(Metric):
    """Base of the metrics that `run.metrics=[salmubench]` stands for; their keys begin with "salmubench_"."""

    suite = SUITE

    def images(self, context: Context) -> Iterable[Sequence[Entry]]:
        return context.shared(BenchmarkData).images()

    def __call__(self, context: Context) -> Numbers:
        found = self.values(context.shared(BenchmarkData))
        return {PREFIX + name: value for name, value in found.items()}

    def values(self, data: BenchmarkData) -> Numbers:
        """The numbers by name, without the prefix. Raises NotMeasured and DataError as `__call__` does."""
        raise NotImplementedError


class MeanCosine(SalmuMetric):
    """The mean paired cosine of one split, `split`, -1 … 1."""

    split: ClassVar[str]

    def values(self, data: BenchmarkData) -> Numbers:
        (column,) = self.columns
        part = data.part(self.split)
        cosines = paired_cosines(part.image, part.text, column.title)
        return {column.key.removeprefix(PREFIX): float(cosines.mean())}


def summarised(data: BenchmarkData, part: Part, name: str, found: np.ndarray) -> Numbers:
    """Mean of one value per pair, its 95 % interval by person, and means over whole and partial identities.

    The interval (`_low`, `_high`) needs two people; `_whole` and `_partial` appear where there are such identities.
    """
    numbers, people = {name: float(found.mean())}, people_of(part)
    if len(set(people)) > 1:
        low, high = clustered_interval(found, people, seed=data.choices.seed)
        numbers |= {f"{name}_low": low, f"{name}_high": high}
    for kind, images in (("whole", data.whole), ("partial", data.partial)):
        rows = part.rows(images)
        if rows:
            numbers[f"{name}_{kind}"] = float(found[rows].mean())
    return numbers


def people_of(part: Part, split: str = "forget") -> Sequence[str]:
    """The identity of every pair. Raises DataError for a row without one."""
    return [identity_of(entry, split) for entry in part.entries]


def need_people(data: BenchmarkData, part: Part) -> None:
    """Raise NotMeasured unless the metadata knows every identity of `part`."""
    if not data.people:
        raise NotMeasured(f"metadata file {IDENTITIES_FILE} is missing or empty")
    unknown = sorted(set(people_of(part)) - data.people.keys())
    if unknown:
        few = ", ".join(unknown[:3])
        raise NotMeasured(
            f"{IDENTITIES_FILE} does not match the rows: it lacks {len(unknown)} identities, the first: {few}"
        )
