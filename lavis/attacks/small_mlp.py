"""A small network from text to image space, fitted on other people: undoes what a linear map cannot.

g(t) = t·M + W₂·gelu(W₁·t), with the contrastive loss over other people's pairs;  X with cos(i, g(t))
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lavis.audits.attack import Attack, Readings, Settings
from lavis.audits.reading_out import STEP_SECONDS, fitted, mapped, procrustes
from lavis.audits.subject import Subject, Timing
from lavis.common.registry import registry


@registry.register_attack("small_mlp")
class SmallMlp(Attack):
    """It starts as the best rotation, with a hidden layer of twice the width."""

    about = "a small network from text to image space, fitted on other people"
    reference = "Hewitt and Liang, arXiv 1909.03368"
    needs = ("embeddings", "other people's pairs")
    undoes_maps = True
    order = 31
    budgets = {"standard": {"steps": 300}, "full": {"steps": 1000}}

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        return settings["steps"] * STEP_SECONDS + timing.exam(subject.material)

    def run(self, subject: Subject, settings: Settings) -> Readings:
        others = subject.material.retained_and_others
        image, text = subject.images(others), subject.texts(others.captions)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(subject.material.seed)
            network = Residual(procrustes(text, image))
        change = fitted(network, text, image, others, settings["steps"], subject)
        return {f"{settings['steps']} steps": self.ask(subject, texts=mapped(subject, change))}


class Residual(nn.Module):
    """A rotation (D, D) plus a hidden layer whose output starts at zero."""

    def __init__(self, rotation: torch.Tensor) -> None:
        super().__init__()
        width = len(rotation)
        self.rotation = nn.Parameter(rotation.clone())
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows (n, D) to (n, D)."""
        return rows @ self.rotation + self.outer(F.gelu(self.inner(rows)))
