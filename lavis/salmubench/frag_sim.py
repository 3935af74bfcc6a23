"""FragSim: the mean paired cosine (SALMUBench 2.5)."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.metric import UP
from lavis.salmubench.mean_cosine import MeanCosine, paper_column


@registry.register_metric("frag_sim")
class FragSim(MeanCosine):
    """SALMUBench 2.5, on strangers whose images are most like forgotten ones."""

    split, order = "fragile_set", 111
    help = "mean paired cosine of retained pairs that look like forgotten ones"
    columns = paper_column("frag_sim", 5, "FragSim", help, ("0.3091", "0.2801"), direction=UP)
