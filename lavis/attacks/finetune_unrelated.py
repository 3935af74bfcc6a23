"""Fine-tuning on pairs that have nothing to do with people: newly drawn shapes with their captions.

θ' = AdamW steps on the original loss over drawn shapes;  X(θ', Df)
"""

from __future__ import annotations

from lavis.attacks.finetune_retained import BUDGETS
from lavis.audits.material import Material
from lavis.audits.tuning import FineTuning, Lesson
from lavis.common.registry import registry


@registry.register_attack("finetune_unrelated")
class FinetuneUnrelated(FineTuning):
    """The shapes are drawn for the audit, so that it works with any data."""

    about = "fine-tuned on drawn shapes"
    reference = "Lucki et al., arXiv 2409.18025"
    needs = ("weights", "gradients")
    order = 13
    budgets = {name: {**one, "rates": one["rates"][:2]} for name, one in BUDGETS.items() if name != "quick"}

    def lesson(self, material: Material, number: int) -> Lesson:
        return material.unrelated, None
