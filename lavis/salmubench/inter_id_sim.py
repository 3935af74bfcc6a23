"""InterIdSim: mean paired cosine on holdout_identity, people of whom nothing was to be forgotten."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.metric import DISTANCE, HEADLINE, Column
from lavis.salmubench.metric import PREFIX, TEN, MeanCosine


@registry.register_metric("inter_id_sim")
class InterIdSim(MeanCosine):
    """SALMUBench 2.2; what should stay."""

    split = "holdout_identity"
    columns = (
        Column(
            *(PREFIX + "inter_id_sim", "InterIdSim", "mean paired cosine of people who are not in the forget set"),
            groups=(TEN,),
            order=80,
            uses=(DISTANCE, HEADLINE),
            public=("utility", "2.2_InterIdSim", "mean"),
            published=("0.1428", "0.3215"),
        ),
    )
    order = 108
