"""IdZSC: zero-shot classification of the identity's name, on forget_identity."""

from __future__ import annotations

from collections.abc import Sequence

from lavis.common.registry import registry
from lavis.evaluation.metric import DOWN
from lavis.evaluation.zero_shot import top1
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.metric import Numbers, SalmuMetric, need_people, ten_column
from lavis.salmubench.splits import name_of

PROMPTS = {"name": "{name}", "photo": "a photo of {name}"}


@registry.register_metric("idzsc")
class IdZsc(SalmuMetric):
    """SALMUBench 1.4: share of images that are closer to the own person's name than to every other name."""

    columns = (
        ten_column(
            *("idzsc", "IdZSC", "zero-shot accuracy of the forgotten identity's name", 50),
            direction=DOWN,
            public=("efficacy", "1.4_IdZSC", "identity_classification_accuracy"),
            published=("0.0107", "0.0836"),
        ),
    )
    order = 103

    def values(self, data: BenchmarkData) -> Numbers:
        part = data.part("forget_identity")
        need_people(data, part)
        known, own = numbered([name_of(entry, data.people) for entry in part.entries])
        prompt = PROMPTS[data.choices.idzsc_prompt]
        texts = data.texts([prompt.format(name=name) for name in known], "IdZSC")
        return {"idzsc": top1(part.image, texts, own, "IdZSC")}


def numbered(names: Sequence[str]) -> tuple[list[str], list[int]]:
    """The distinct names, sorted, and the place of each name among them."""
    known = sorted(set(names))
    places = {name: place for place, name in enumerate(known)}
    return known, [places[name] for name in names]
