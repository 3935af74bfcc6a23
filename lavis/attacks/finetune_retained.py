"""Fine-tuning on retained data alone: benign training can undo an unlearning that only hid what it should remove.

θ' = AdamW steps on the original loss over Dr;  X(θ', Df)
"""

from __future__ import annotations

from lavis.audits.attack import Settings
from lavis.audits.material import Material
from lavis.audits.tuning import EVERYTHING, FineTuning, Lesson
from lavis.common.registry import registry

BUDGETS: dict[str, Settings] = {
    "quick": {"draws": 1, "rates": [5e-4], "steps": [40], "parts": [EVERYTHING]},
    "standard": {"draws": 1, "rates": [5e-4, 2e-4], "steps": [75], "parts": [EVERYTHING]},
    "full": {"draws": 3, "rates": [5e-4, 1e-4, 2e-4, 1e-3], "steps": [50, 100, 200], "parts": [EVERYTHING]},
}


@registry.register_attack("finetune_retained")
class FinetuneRetained(FineTuning):
    """Every draw is another order of the batches."""

    about = "fine-tuned on retained pairs alone"
    reference = "arXiv 2505.22310"
    needs = ("weights", "gradients", "retained pairs")
    order = 11
    budgets = BUDGETS

    def lesson(self, material: Material, number: int) -> Lesson:
        return material.retained, None
