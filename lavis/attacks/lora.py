"""Fine-tuning low-rank factors on a tenth of the forget set: the cheap way to adapt a published model.

W' = W + (α/r)·B·A on every linear layer;  X(θ', Df \\ D₁)
"""

from __future__ import annotations

from lavis.attacks.relearning import Relearning
from lavis.audits.attack import NotPossible, Readings, Settings
from lavis.audits.subject import Subject
from lavis.audits.tuning import LORA
from lavis.common.registry import registry


@registry.register_attack("lora")
class Lora(Relearning):
    """Rank 8, taught as `relearning` is."""

    about = "low-rank factors tuned on a tenth of the forgotten pairs"
    reference = "Hu et al., arXiv 2106.09685"
    needs = ("weights", "gradients", "a tenth of Df")
    order = 14
    budgets = {
        "standard": {"draws": 1, "rates": [2e-3], "steps": [75], "parts": [LORA]},
        "full": {"draws": 3, "rates": [2e-3, 5e-4, 1e-3, 5e-3], "steps": [50, 100, 200], "parts": [LORA]},
    }

    def run(self, subject: Subject, settings: Settings) -> Readings:
        if not type(subject.model).adapts:
            raise NotPossible("this backbone has no linear layers that low-rank factors can be put on")
        return super().run(subject, settings)
