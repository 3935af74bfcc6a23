"""IntraIdSim: the mean paired cosine (SALMUBench 2.3)."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.metric import DISTANCE, HEADLINE
from lavis.salmubench.mean_cosine import MeanCosine, paper_column


@registry.register_metric("intra_id_sim")
class IntraIdSim(MeanCosine):
    """SALMUBench 2.3, on other facts about people of the forget set."""

    split, order = "holdout_association", 109
    help = "mean paired cosine of other facts about forgotten people"
    columns = paper_column("intra_id_sim", 3, "IntraIdSim", help, ("0.1428", "0.3213"), uses=(DISTANCE, HEADLINE))
