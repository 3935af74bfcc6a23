"""Gaussian noise on the weights: what is hidden by a delicate balance shows when it is disturbed.

w' = w + ε·rms(w)·n,  n ~ N(0, 1)
"""

from __future__ import annotations

import torch

from lavis.audits.attack import Attack, Readings, Settings
from lavis.audits.grid import changed_weights
from lavis.audits.subject import Subject, Timing
from lavis.common.registry import registry
from lavis.common.seed import generator


@registry.register_attack("noise")
class Noise(Attack):
    """The noise depends on the seed, the draw and the weight's name: all models get the same."""

    about = "Gaussian noise added to the weights"
    reference = "Tice et al., arXiv 2412.01784"
    needs = ("weights",)
    why_not = "noise of this size moves no weight far enough to invert a map"
    order = 22
    budgets = {
        "standard": {"levels": [0.05, 0.2], "draws": 2},
        "full": {"levels": [0.02, 0.05, 0.1, 0.2, 0.5], "draws": 5},
    }

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        return len(settings["levels"]) * settings["draws"] * timing.exam(subject.material)

    def run(self, subject: Subject, settings: Settings) -> Readings:
        found: Readings = {}
        for level in settings["levels"]:
            for number in range(settings["draws"]):
                one, name = self.ask(self._disturbed(subject, level, number)), f"noise {level:g}"
                found[name] = found[name].plus(one) if name in found else one
        return found

    def _disturbed(self, subject: Subject, level: float, number: int) -> Subject:
        def change(name: str, weight: torch.Tensor) -> torch.Tensor:
            draws = generator(subject.material.seed, "audit noise", number, name)
            noise = torch.randn(weight.shape, generator=draws).to(weight)
            return weight + level * weight.float().square().mean().sqrt() * noise

        return subject.changed(changed_weights(subject.model, change))
