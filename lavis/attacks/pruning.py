"""Magnitude pruning: the small changes of unlearning may be among the weights that are cut away.

w' = w · [|w| > the share-quantile of |w|], for each weight matrix
"""

from __future__ import annotations

from lavis.audits.attack import Attack, Readings, Settings
from lavis.audits.grid import changed_weights, pruned
from lavis.audits.subject import Subject, Timing
from lavis.common.registry import registry


@registry.register_attack("pruning")
class Pruning(Attack):
    """The smallest weights of each matrix become zero, without any training after it."""

    about = "the smallest 10, 30 and 50 % of the weights set to zero"
    reference = "Wei et al., arXiv 2402.05162"
    needs = ("weights",)
    why_not = "it sets small weights to zero; the map is still applied to what comes out"
    order = 21
    budgets = {"standard": {"shares": [0.1, 0.3, 0.5]}, "full": {"shares": [0.1, 0.2, 0.3, 0.4, 0.5, 0.7]}}

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        return len(settings["shares"]) * timing.exam(subject.material)

    def run(self, subject: Subject, settings: Settings) -> Readings:
        def one(share: float) -> Subject:
            return subject.changed(changed_weights(subject.model, lambda _, weight: pruned(weight, share)))

        return {f"{share:.0%} pruned": self.ask(one(share)) for share in settings["shares"]}
