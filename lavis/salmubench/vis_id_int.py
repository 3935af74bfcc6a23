"""VisIdInt: mean paired cosine on retain_joint, harmless images of people of the forget set."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.metric import UP, Column
from lavis.salmubench.metric import PREFIX, TEN, MeanCosine


@registry.register_metric("vis_id_int")
class VisIdInt(MeanCosine):
    """SALMUBench 2.4; what should stay."""

    split = "retain_joint"
    columns = (
        Column(
            *(PREFIX + "vis_id_int", "VisIdInt", "mean paired cosine of ordinary captions of forgotten people"),
            groups=(TEN,),
            order=100,
            direction=UP,
            public=("utility", "2.4_VisIdInt", "mean"),
            published=("0.3308", "0.3052"),
        ),
    )
    order = 110
