"""FragSim: mean paired cosine on fragile_set, strangers whose images are most like forgotten ones."""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.evaluation.metric import UP, Column
from lavis.salmubench.metric import PREFIX, TEN, MeanCosine


@registry.register_metric("frag_sim")
class FragSim(MeanCosine):
    """SALMUBench 2.5; what should stay."""

    split = "fragile_set"
    columns = (
        Column(
            *(PREFIX + "frag_sim", "FragSim", "mean paired cosine of retained pairs that look like forgotten ones"),
            groups=(TEN,),
            order=110,
            direction=UP,
            public=("utility", "2.5_FragSim", "mean"),
            published=("0.3091", "0.2801"),
        ),
    )
    order = 111
