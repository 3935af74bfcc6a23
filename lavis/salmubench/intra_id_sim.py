"""IntraIdSim: mean paired cosine on holdout_association, other facts about people of the forget set."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.metric import DISTANCE, HEADLINE, Column
from lavis.salmubench.metric import PREFIX, TEN, MeanCosine


@registry.register_metric("intra_id_sim")
class IntraIdSim(MeanCosine):
    """SALMUBench 2.3; what should stay."""

    split = "holdout_association"
    columns = (
        Column(
            *(PREFIX + "intra_id_sim", "IntraIdSim", "mean paired cosine of other facts about forgotten people"),
            groups=(TEN,),
            order=90,
            uses=(DISTANCE, HEADLINE),
            public=("utility", "2.3_IntraIdSim", "mean"),
            published=("0.1428", "0.3213"),
        ),
    )
    order = 109
