"""Fine-tuning: training with the original objective continues on the retain set alone; drift does the forgetting.

The plainest baseline (for example Golatkar et al., "Eternal Sunshine of the Spotless Net", CVPR 2020, arXiv
1911.04933, section 7):

    L = O'(r)

| symbol | here |
|---|---|
| ' (prime) | student: the model being unlearned |
| r | batch of the retain set (dr), half of run.batch_size_train |
| O | the backbone's own training objective, `model.objective`: CLIP's contrastive loss with its temperature learnt, … |

An epoch is one pass over Df with Dr cycling, as in every method, so that a budget means the same number of steps;
the forget batches that set this pace do not go through the model.
"""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.trainers.original import Original


@registry.register_trainer("ft")
class FineTuning(Original):
    """Fine-tuning on the retain set."""

    all_terms = ("retain",)
    sets = ("df", "dr")
