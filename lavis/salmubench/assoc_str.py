"""AssocStr: mean cosine of forget images with their captions. The aim is Clean's value, not a lower one."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.inputs import paired_cosines
from lavis.evaluation.metric import DISTANCE, HEADLINE
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.metric import Numbers, SalmuMetric, people_column, summarised, ten_column


@registry.register_metric("assoc_str")
class AssocStr(SalmuMetric):
    """SALMUBench 1.2, with an interval and means over whole and partial identities."""

    columns = (
        ten_column(
            *("assoc_str", "AssocStr", "mean cosine of forgotten images with their captions", 30),
            uses=(DISTANCE, HEADLINE),
            public=("efficacy", "1.2_AssocStr", "mean"),
            published=("0.1417", "0.3215"),
        ),
        people_column("assoc_str_whole", "AssocStr whole", "AssocStr of whole identities", 70),
        people_column("assoc_str_partial", "AssocStr partial", "AssocStr of partial identities", 80),
    )
    order = 101

    def values(self, data: BenchmarkData) -> Numbers:
        forget = data.part("forget")
        return summarised(data, forget, "assoc_str", paired_cosines(forget.image, forget.text, "AssocStr"))
