"""Base class and tables of SALMUBench's metrics, and means over people.

Selvas-Sala, Kang and Gomez, "SALMUBench", CVPR 2026, arXiv 2603.26316. Values are fractions, not percent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lavis.common.errors import first_few
from lavis.datasets.annotations import Entry
from lavis.evaluation.context import Context
from lavis.evaluation.metric import Column, Group, Metric, NotMeasured
from lavis.importing.salmu_metadata import IDENTITIES as IDENTITIES_FILE
from lavis.salmubench.bootstrap import clustered_interval
from lavis.salmubench.data import BenchmarkData, Part
from lavis.salmubench.splits import identity_of

SUITE = "salmubench"
PREFIX = "salmubench_"
TEN = Group("The ten metrics", 10, suite=SUITE, published=True)
IDENTITIES = Group("Whole and partial identities", 20, suite=SUITE)
Numbers = dict[str, float]


class SalmuMetric(Metric):
    """Base class of the metrics of `run.metrics=[salmubench]`; their keys begin with "salmubench_"."""

    suite = SUITE

    def images(self, context: Context) -> Iterable[Sequence[Entry]]:
        return context.shared(BenchmarkData).images()

    def __call__(self, context: Context) -> Numbers:
        return {PREFIX + name: value for name, value in self.values(context.shared(BenchmarkData)).items()}

    def values(self, data: BenchmarkData) -> Numbers:
        """The numbers by name, without the prefix. Raises NotMeasured and DataError as `__call__`."""
        raise NotImplementedError


def ten_column(name: str, title: str, help: str, order: int, **more: Any) -> Column:
    """A column in the table of the ten metrics."""
    return Column(PREFIX + name, title, help, groups=(TEN,), order=order, **more)


def people_column(name: str, title: str, help: str, order: int, **more: Any) -> Column:
    """A column in the table of whole and partial identities."""
    return Column(PREFIX + name, title, help, groups=(IDENTITIES,), order=order, **more)


def summarised(data: BenchmarkData, part: Part, name: str, values: np.ndarray) -> Numbers:
    """Mean of one value per pair, its 95 % interval by person, and means over whole and partial identities.

    The interval (`_low`, `_high`) needs two people; `_whole` and `_partial` need such identities.
    """
    numbers, people = {name: float(values.mean())}, people_of(part)
    if len(set(people)) > 1:
        low, high = clustered_interval(values, people, seed=data.choices.seed)
        numbers |= {f"{name}_low": low, f"{name}_high": high}
    for kind, images in (("whole", data.whole), ("partial", data.partial)):
        rows = [row for row, entry in enumerate(part.entries) if entry.image in images]
        if rows:
            numbers[f"{name}_{kind}"] = float(values[rows].mean())
    return numbers


def people_of(part: Part, split: str = "forget") -> Sequence[str]:
    """The identity of each pair. Raises DataError for a row without one."""
    return [identity_of(entry, split) for entry in part.entries]


def need_people(data: BenchmarkData, part: Part) -> None:
    """Raise NotMeasured if an identity of `part` is not in the metadata."""
    if not data.people:
        raise NotMeasured(f"metadata file {IDENTITIES_FILE} is missing or empty")
    unknown = sorted(set(people_of(part)) - data.people.keys())
    if unknown:
        lacking = f"it lacks {len(unknown)} identities, the first: {first_few(unknown)}"
        raise NotMeasured(f"{IDENTITIES_FILE} does not match the rows: {lacking}")
