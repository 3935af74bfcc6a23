"""The mean paired cosine of a split in which nothing was to be forgotten: what four of the metrics have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from lavis.evaluation.inputs import paired_cosines
from lavis.evaluation.metric import Column
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.metric import PREFIX, Numbers, SalmuMetric, ten_column


class MeanCosine(SalmuMetric):
    """The mean paired cosine of one split, -1 … 1."""

    split: ClassVar[str]

    def values(self, data: BenchmarkData) -> Numbers:
        (column,) = self.columns
        part = data.part(self.split)
        cosines = paired_cosines(part.image, part.text, column.title)
        return {column.key.removeprefix(PREFIX): float(cosines.mean())}


def paper_column(
    name: str, number: int, title: str, help: str, published: tuple[str, str], **more: Any
) -> tuple[Column]:
    """The column of the paper's metric 2.<number>."""
    public = ("utility", f"2.{number}_{title}", "mean")
    return (ten_column(name, title, help, 60 + 10 * number, public=public, published=published, **more),)
