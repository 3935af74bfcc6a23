"""CoreAssoc: mean over forget of the larger cosine of the image with "{name} {value}" and "{value} {name}"."""

from __future__ import annotations

from typing import Any

import numpy as np

from lavis.common.registry import registry
from lavis.evaluation.inputs import paired_cosines
from lavis.evaluation.metric import NotMeasured
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.metric import Numbers, SalmuMetric, need_people, ten_column
from lavis.salmubench.splits import core_texts


@registry.register_metric("core_assoc")
class CoreAssoc(SalmuMetric):
    """SALMUBench 1.5."""

    columns = (
        ten_column(
            *("core_assoc", "CoreAssoc", 'larger cosine of "name value" and "value name", mean over forget', 60),
            public=("efficacy", "1.5_CoreAssoc", "mean"),
            published=("0.1514", "0.1827"),
        ),
    )
    order = 104

    def values(self, data: BenchmarkData) -> Numbers:
        forget = data.part("forget")
        need_people(data, forget)
        lacking = sum(entry.extra.get("value") is None for entry in forget.entries)
        if lacking:
            raise NotMeasured(f"{lacking} rows of split 'forget' have no 'value'; import the data with its metadata")
        forward, backward = zip(*(core_texts(entry, data.people) for entry in forget.entries), strict=True)
        one, two = data.texts(list(forward), "CoreAssoc"), data.texts(list(backward), "CoreAssoc")
        return {"core_assoc": float(core_cosines(forget.image, one, two).mean())}


def core_cosines(image: Any, name_value: Any, value_name: Any) -> np.ndarray:
    """The larger of each image's two cosines, (n,), from three arrays (n, D). Raises as `paired_cosines`."""
    return np.maximum(*(paired_cosines(image, text, "CoreAssoc") for text in (name_value, value_name)))
