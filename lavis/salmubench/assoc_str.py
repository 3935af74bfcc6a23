"""AssocStr: mean cosine of forget images with their captions. Forgetting lowers it to Clean's value, not below."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.inputs import paired_cosines
from lavis.evaluation.metric import DISTANCE, HEADLINE, Column
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.metric import IDENTITIES, PREFIX, TEN, Numbers, SalmuMetric, summarised

KEY = PREFIX + "assoc_str"


@registry.register_metric("assoc_str")
class AssocStr(SalmuMetric):
    """SALMUBench 1.2, with its interval and its means over whole and partial identities."""

    columns = (
        Column(
            *(KEY, "AssocStr", "mean cosine of forgotten images with their captions"),
            groups=(TEN,),
            order=30,
            uses=(DISTANCE, HEADLINE),
            public=("efficacy", "1.2_AssocStr", "mean"),
            published=("0.1417", "0.3215"),
        ),
        Column(KEY + "_whole", "AssocStr whole", "AssocStr of whole identities", groups=(IDENTITIES,), order=70),
        Column(KEY + "_partial", "AssocStr partial", "AssocStr of partial identities", groups=(IDENTITIES,), order=80),
    )
    order = 101

    def values(self, data: BenchmarkData) -> Numbers:
        forget = data.part("forget")
        return summarised(data, forget, "assoc_str", paired_cosines(forget.image, forget.text, "AssocStr"))
