"""Mixing with the original's weights: how short is the way back for an attacker who has the original?

    θ' = (1 − α)·θ_unlearned + α·θ_original

Such an attacker could as well use the original. The figure shows how the unlearned model lies to it: retraining from
scratch ends in another valley, a few steps from the original do not.
"""

from __future__ import annotations

import copy

import torch

from lavis.audits.attack import Attack, NotPossible, Readings, Settings
from lavis.audits.subject import Subject, Timing
from lavis.common.registry import registry
from lavis.runners.mixing import mixed


@registry.register_attack("interpolation")
class Interpolation(Attack):
    """Shares of the original of a tenth, a quarter and a half."""

    about = "weights mixed with the original's"
    reference = "Wortsman et al., arXiv 2109.01903 (the mixing)"
    needs = ("weights", "the original's weights")
    undoes_maps = True
    order = 23
    budgets = {"standard": {"shares": [0.1, 0.25, 0.5]}, "full": {"shares": [0.1, 0.25, 0.5, 0.75]}}

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        return len(settings["shares"]) * timing.exam(subject.material)

    def run(self, subject: Subject, settings: Settings) -> Readings:
        original = subject.company.original
        if original is None:
            raise NotPossible("there is no original model")
        return {f"{share:.0%} original": self.ask(_mixed(subject, original, share)) for share in settings["shares"]}


def _mixed(subject: Subject, original: torch.nn.Module, share: float) -> Subject:
    model = copy.deepcopy(subject.model).eval()
    model.load_state_dict(mixed(subject.model.state_dict(), original.state_dict(), share))
    return subject.changed(model)
