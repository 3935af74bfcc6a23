"""InterIdSim, IntraIdSim, VisIdInt and FragSim: the mean paired cosine on pairs where nothing was to be forgotten."""

from __future__ import annotations

from typing import Any, ClassVar

from lavis.common.registry import registry
from lavis.evaluation.inputs import paired_cosines
from lavis.evaluation.metric import DISTANCE, HEADLINE, UP, Column
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.metric import PREFIX, TEN, Numbers, SalmuMetric


class MeanCosine(SalmuMetric):
    """The mean paired cosine of one split, -1 … 1."""

    split: ClassVar[str]

    def values(self, data: BenchmarkData) -> Numbers:
        (column,) = self.columns
        part = data.part(self.split)
        cosines = paired_cosines(part.image, part.text, column.title)
        return {column.key.removeprefix(PREFIX): float(cosines.mean())}


def _column(name: str, number: int, title: str, help: str, published: tuple[str, str], **more: Any) -> tuple[Column]:
    """The column of the paper's metric 2.<number>."""
    public = ("utility", f"2.{number}_{title}", "mean")
    order = 60 + 10 * number
    return (Column(PREFIX + name, title, help, groups=(TEN,), order=order, public=public, published=published, **more),)


@registry.register_metric("inter_id_sim")
class InterIdSim(MeanCosine):
    """SALMUBench 2.2, on people of whom nothing was to be forgotten."""

    split, order = "holdout_identity", 108
    help = "mean paired cosine of people who are not in the forget set"
    columns = _column("inter_id_sim", 2, "InterIdSim", help, ("0.1428", "0.3215"), uses=(DISTANCE, HEADLINE))


@registry.register_metric("intra_id_sim")
class IntraIdSim(MeanCosine):
    """SALMUBench 2.3, on other facts about people of the forget set."""

    split, order = "holdout_association", 109
    help = "mean paired cosine of other facts about forgotten people"
    columns = _column("intra_id_sim", 3, "IntraIdSim", help, ("0.1428", "0.3213"), uses=(DISTANCE, HEADLINE))


@registry.register_metric("vis_id_int")
class VisIdInt(MeanCosine):
    """SALMUBench 2.4, on harmless images of people of the forget set."""

    split, order = "retain_joint", 110
    help = "mean paired cosine of ordinary captions of forgotten people"
    columns = _column("vis_id_int", 4, "VisIdInt", help, ("0.3308", "0.3052"), direction=UP)


@registry.register_metric("frag_sim")
class FragSim(MeanCosine):
    """SALMUBench 2.5, on strangers whose images are most like forgotten ones."""

    split, order = "fragile_set", 111
    help = "mean paired cosine of retained pairs that look like forgotten ones"
    columns = _column("frag_sim", 5, "FragSim", help, ("0.3091", "0.2801"), direction=UP)
