"""Original training: the backbone's own objective on the rows it is given (used by train.py).

CLIP: the contrastive loss of Radford et al., arXiv 2103.00020, section 2.3. ALBEF (Li et al., arXiv 2107.07651) and
BLIP (Li et al., arXiv 2201.12086): contrastive and matching losses for retrieval, the language modelling loss on the
answers for VQA, cross-entropy for NLVR2 and visual entailment.
"""

from __future__ import annotations

import torch

from lavis.common.registry import registry
from lavis.trainers.base import BaseTrainer, Batch, EqualCaptions, Student, TeacherFeatures, with_parts


@registry.register_trainer("original")
class Original(BaseTrainer):
    """Trains an original model on one set, `dr`. Its only term is the objective."""

    params_class = EqualCaptions
    all_terms = ("objective",)
    sets = ("dr",)
    needs_teacher = False
    trains_scale = True
    makes_model = True

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        return with_parts(self.all_terms[0], student.objective("dr", self.params.share_equal))
