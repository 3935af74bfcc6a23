"""A linear map from text to image space, fitted on other people: undoes whatever only rotates or stretches embeddings.

    orthogonal: M = argmin ‖T·M − I‖ over MᵀM = 1, that is U·Vᵀ of TᵀI = U·S·Vᵀ
    contrastive: M from there by gradient steps on the contrastive loss;  X with cos(i, t·M)

T (n, D) and I (n, D) are the embeddings of other people's pairs.
"""

from __future__ import annotations

from torch import nn

from lavis.audits.attack import ALWAYS, Attack, Readings, Settings
from lavis.audits.reading_out import STEP_SECONDS, fitted, mapped, procrustes
from lavis.audits.subject import Subject, Timing
from lavis.common.registry import registry


@registry.register_attack("linear_map")
class LinearMap(Attack):
    """The orthogonal map in closed form, and a free map from there by 200 steps."""

    about = "a linear map from text to image space, fitted on other people"
    reference = "Schönemann 1966; Alain and Bengio, arXiv 1610.01644"
    needs = ("embeddings", "other people's pairs")
    undoes_maps = True
    order = 30
    budgets = {name: {"steps": 200} for name in ALWAYS}

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        return settings["steps"] * STEP_SECONDS + timing.exam(subject.material)

    def run(self, subject: Subject, settings: Settings) -> Readings:
        others = subject.material.retained_and_others
        image, text = subject.images(others), subject.texts(others.captions)
        rotation = procrustes(text, image)
        layer = nn.Linear(text.shape[1], image.shape[1], bias=False)
        layer.weight.data.copy_(rotation.T)
        free = fitted(layer, text, image, others, settings["steps"], subject)
        return {
            "orthogonal": self.ask(subject, texts=mapped(subject, lambda rows: rows @ rotation)),
            "contrastive": self.ask(subject, texts=mapped(subject, free)),
        }
