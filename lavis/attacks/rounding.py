"""Rounding the weights, as is usual before a model is served: small changes of unlearning may be rounded away.

w ≈ s·round(w/s), one s per row of a weight, or per 32 numbers of a row
"""

from __future__ import annotations

from lavis.audits.attack import Attack, Readings, Settings
from lavis.audits.grid import changed_weights, rounded_to
from lavis.audits.subject import Subject, Timing
from lavis.common.registry import registry
from lavis.evaluation.quantise import quantised

INT8 = "8 bits, inputs too"
GROUP = 32


@registry.register_attack("rounding")
class Rounding(Attack):
    """8 bits with rounded inputs, then 4 and 3 bits of the weights alone."""

    about = "weights rounded to 8, 4 and 3 bits"
    reference = "Zhang et al., arXiv 2410.16454"
    needs = ("weights",)
    why_not = "rounding moves each weight by less than half a step; a linear map is no such change"
    order = 20
    budgets = {
        "quick": {"bits": [4], "groups": [0]},
        "standard": {"bits": [4, 3], "groups": [0, GROUP]},
        "full": {"bits": [8, 4, 3, 2], "groups": [0, GROUP]},
    }

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        return (1 + len(settings["bits"]) * len(settings["groups"])) * timing.exam(subject.material)

    def run(self, subject: Subject, settings: Settings) -> Readings:
        found = {INT8: self.ask(subject.changed(quantised(subject.model)))}
        for bits in settings["bits"]:
            for group in settings["groups"]:
                name = f"{bits} bits, per {f'{group} numbers' if group else 'row'}"
                model = changed_weights(subject.model, lambda _, w, b=bits, g=group: rounded_to(w, b, g))
                found[name] = self.ask(subject.changed(model))
        return found
