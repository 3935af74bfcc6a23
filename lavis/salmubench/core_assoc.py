"""CoreAssoc: mean over forget of the greater cosine of the image with "{name} {value}" and "{value} {name}"."""

from __future__ import annotations

from typing import Any

import numpy as np

from lavis.common.registry import registry
from lavis.evaluation.inputs import paired_rows
from lavis.evaluation.metric import Column, NotMeasured
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.metric import PREFIX, TEN, Numbers, SalmuMetric, need_people
from lavis.salmubench.splits import core_texts


@registry.register_metric("core_assoc")
class CoreAssoc(SalmuMetric):
    """SALMUBench 1.5."""

    columns = (
        Column(
            *(PREFIX + "core_assoc", "CoreAssoc", 'larger cosine of "name value" and "value name", mean over forget'),
            groups=(TEN,),
            order=60,
            public=("efficacy", "1.5_CoreAssoc", "mean"),
            published=("0.1514", "0.1827"),
        ),
    )
    order = 104

    def values(self, data: BenchmarkData) -> Numbers:
        forget = data.part("forget")
        need_people(data, forget)
        silent = sum(entry.extra.get("value") is None for entry in forget.entries)
        if silent:
            raise NotMeasured(f"{silent} rows of split 'forget' have no 'value'; import the data with its metadata")
        forward, backward = zip(*(core_texts(entry, data.people) for entry in forget.entries), strict=True)
        one, two = data.texts(list(forward), "CoreAssoc"), data.texts(list(backward), "CoreAssoc")
        return {"core_assoc": float(core_cosines(forget.image, one, two).mean())}


def core_cosines(image: Any, name_value: Any, value_name: Any) -> np.ndarray:
    """The greater of the two cosines of every pair, (n,); image, name_value and value_name are (n, D).

    Raises as `paired_rows`.
    """
    images, forward = paired_rows(image, name_value, "CoreAssoc")
    _, backward = paired_rows(image, value_name, "CoreAssoc")
    return np.maximum((images * forward).sum(axis=1), (images * backward).sum(axis=1))
