"""Fine-tuning on a tenth of the forget set: does the rest come back, faster than fresh people are learnt?

D₁ ⊂ Df, |D₁| = |Df|/10;  θ' = AdamW steps on the original loss over D₁;  X(θ', Df \\ D₁)
"""

from __future__ import annotations

from lavis.audits.material import Material
from lavis.audits.tuning import EVERYTHING, IMAGE, TEXT, TOKENS, FineTuning, Lesson
from lavis.common.registry import registry

FRACTION = 0.1


@registry.register_attack("relearning")
class Relearning(FineTuning):
    """Each draw teaches another tenth; the control is taught a tenth of the fresh people."""

    about = "fine-tuned on a tenth of the forgotten pairs, tested on the rest"
    reference = "Hu et al., arXiv 2406.13356"
    needs = ("weights", "gradients", "a tenth of Df")
    order = 10
    budgets = {
        "quick": dict(draws=1, rates=[2e-4], steps=[20, 50], parts=[EVERYTHING]),
        "standard": dict(
            draws=3, rates=[2e-4, 1e-4, 5e-4, 1e-3], steps=[25, 75], parts=[EVERYTHING, TEXT, IMAGE, TOKENS]
        ),
        "full": dict(
            draws=3,
            rates=[2e-4, 1e-4, 5e-4, 1e-3],
            steps=[20, 50, 100, 200],
            parts=[EVERYTHING, TEXT, IMAGE, TOKENS],
            crossed=True,
        ),
    }

    def lesson(self, material: Material, number: int) -> Lesson:
        return material.divided(material.asked, FRACTION, number)

    def control_lesson(self, material: Material, number: int) -> Lesson | None:
        return material.divided(material.control, FRACTION, number) if material.control else None
