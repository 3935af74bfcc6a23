"""InterIdSim: the mean paired cosine (SALMUBench 2.2)."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.metric import DISTANCE, HEADLINE
from lavis.salmubench.mean_cosine import MeanCosine, paper_column


@registry.register_metric("inter_id_sim")
class InterIdSim(MeanCosine):
    """SALMUBench 2.2, on people of whom nothing was to be forgotten."""

    split, order = "holdout_identity", 108
    help = "mean paired cosine of people who are not in the forget set"
    columns = paper_column("inter_id_sim", 2, "InterIdSim", help, ("0.1428", "0.3215"), uses=(DISTANCE, HEADLINE))
