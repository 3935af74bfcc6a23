"""Retraining: the original recipe from untrained weights, on everything but the forget set. The gold standard.

    L = O'(r)

| symbol | here |
|---|---|
| ' (prime) | the model being trained |
| r | batch of the retain set (dr), run.batch_size_train rows; an epoch is one pass over Dr |
| O | the backbone's own training objective, `model.objective` |

With the settings of the original model (learning rate, batch size, epochs, run.train_on_holdout) it ends with the
weights of `train.py` with run.reference=retrained. No original model is read. Fused encoders start from the weights of
their pretraining stage if `model.pretraining` names them, as their originals did.
"""

from __future__ import annotations

from lavis.common.registry import registry
from lavis.trainers.original import Original


@registry.register_trainer("retrain")
class Retraining(Original):
    """Training from scratch without the forget set."""

    all_terms = ("retain",)
    starts_from = "initial"
