"""VisIdInt: the mean paired cosine (SALMUBench 2.4)."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.metric import UP
from lavis.salmubench.mean_cosine import MeanCosine, paper_column


@registry.register_metric("vis_id_int")
class VisIdInt(MeanCosine):
    """SALMUBench 2.4, on harmless images of people of the forget set."""

    split, order = "retain_joint", 110
    help = "mean paired cosine of ordinary captions of forgotten people"
    columns = paper_column("vis_id_int", 4, "VisIdInt", help, ("0.3308", "0.3052"), direction=UP)
