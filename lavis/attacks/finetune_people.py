"""Fine-tuning on pairs of other people: learning such pairs again may revive those of the same kind that were hidden.

θ' = AdamW steps on the original loss over pairs of people outside Df;  X(θ', Df)
"""

from __future__ import annotations

from lavis.attacks.finetune_retained import BUDGETS
from lavis.audits.attack import NotPossible
from lavis.audits.material import Material
from lavis.audits.tuning import FineTuning, Lesson
from lavis.common.registry import registry


@registry.register_attack("finetune_people")
class FinetunePeople(FineTuning):
    """Every draw is another order of the batches. Not possible where the retained pairs are the same ones."""

    about = "fine-tuned on pairs of other people"
    reference = "Lucki et al., arXiv 2409.18025"
    needs = ("weights", "gradients", "other people's pairs")
    order = 12
    budgets = BUDGETS

    def lesson(self, material: Material, number: int) -> Lesson:
        if {one.image for one in material.others.entries} == {one.image for one in material.retained.entries}:
            raise NotPossible("the retained pairs are of other people already: finetune_retained teaches just these")
        return material.others, None
