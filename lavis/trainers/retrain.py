"""Retraining: the original recipe from untrained weights, on everything but the forget set. The gold standard.

    L = O'(r)

| symbol | here |
|---|---|
| ' (prime) | the model being trained |
| r | batch of the retain set (dr), run.batch_size_train rows; an epoch is one pass over Dr |
| O | the backbone's own training objective, `model.objective` |

With the settings of the original model (learning rate, batch size, epochs, run.train_on_holdout) it gives the weights
of `train.py` with run.reference=retrained. No original model is read. Fused encoders start from the weights of their
pretraining stage where `model.pretraining` names them, as their originals did.
"""

from __future__ import annotations

import torch

from lavis.common.registry import registry
from lavis.trainers.base import BaseTrainer, Batch, EqualCaptions, Student, TeacherFeatures, with_parts


@registry.register_trainer("retrain")
class Retraining(BaseTrainer):
    """Training from scratch without the forget set."""

    params_class = EqualCaptions
    all_terms = ("retain",)
    sets = ("dr",)
    needs_teacher = False
    trains_scale = True
    trains_anew = True
    starts_from = "initial"

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        return with_parts("retain", student.objective("dr", self.params.share_equal))
