"""int8: does quantising a model, as is usual before serving it, bring back what was unlearned? (ours)"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from lavis.common.registry import registry
from lavis.datasets.annotations import Entry
from lavis.evaluation.context import Context, PairContext
from lavis.evaluation.metric import DOWN, RESIDUE, UP, Column, Metric, NotMeasured
from lavis.evaluation.quantise import quantised
from lavis.salmubench.assoc_str import AssocStr
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.gen_know import GenKnow
from lavis.salmubench.metric import PREFIX, Numbers, SalmuMetric
from lavis.salmubench.retfail import RetFail


class Int8(Metric):
    """A number of the benchmark after int8 dynamic quantisation of the model's linear layers."""

    suite = "int8"
    measured: ClassVar[type[SalmuMetric]]
    name: ClassVar[str]

    def images(self, context: Context) -> Iterable[Sequence[Entry]]:
        return context.shared(BenchmarkData).images()

    def __call__(self, context: Context) -> Numbers:
        value = self.measured().values(context.shared(quantised_data))[self.name]
        return {f"{PREFIX}int8_{self.name}": value}


def _column(name: str, title: str, order: int, what: str = "", **more: Any) -> tuple[Column]:
    key, help = f"{PREFIX}int8_{name}", f"{what or title} with linear layers in 8 bits"
    return (Column(key, f"int8 {title}", help, groups=(RESIDUE,), order=order, **more),)


@registry.register_metric("int8_retfail")
class Int8RetFail(Int8):
    """RetFail MRR."""

    measured, name, order = RetFail, "retfail_mrr", 120
    columns = _column(name, "RetFail", 60, "RetFail MRR", decimals=4, direction=DOWN)


@registry.register_metric("int8_assoc_str")
class Int8AssocStr(Int8):
    """AssocStr."""

    measured, name, order = AssocStr, "assoc_str", 121
    columns = _column(name, "AssocStr", 70)


@registry.register_metric("int8_gen_know")
class Int8GenKnow(Int8):
    """GenKnow on the data set's own classes."""

    measured, name, order = GenKnow, "gen_know", 122
    columns = _column(name, "GenKnow", 80, direction=UP)


def quantised_data(context: Context) -> BenchmarkData:
    """The benchmark on the quantised model. Raises NotMeasured if there is nothing to quantise."""
    assert isinstance(context, PairContext)
    try:
        model = quantised(context.model)
    except ValueError as error:
        raise NotMeasured(str(error)) from error
    return context.of_model(model, "int8").shared(BenchmarkData)
