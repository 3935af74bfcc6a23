"""U-LiRA: can unlearned models be distinguished from retrained ones by the margin of a single pair?

    φ_S(x), φ_R(x): margins over seeds of the same unlearning, and over retrained models
    log N(φ; mean_S, σ_S) − log N(φ; mean_R, σ_R) > 0 guesses "unlearned";  value = mean of right guesses of both kinds

The guess about this model is made from its siblings, that about a retrained model from the other retrained ones. A
share of 0 is guessing, 1 is always right: the question has no meaning for the original, which is no sibling.
"""

from __future__ import annotations

import numpy as np

from lavis.audits.attack import NotPossible, Readings, Settings, reading
from lavis.audits.membership import Membership, references
from lavis.audits.subject import Subject
from lavis.common.registry import registry

LEAST_SIBLINGS, LEAST_RETRAINED = 2, 3


@registry.register_attack("u_lira")
class ULira(Membership):
    """Needs two other seeds' unlearned models (run.audit.siblings) and three that never saw Df (run.audit.shadows)."""

    about = "unlearned against retrained models by each pair's margin over seeds"
    reference = "Hayes et al., arXiv 2403.01218"
    needs = ("questions", "unlearned and retrained models of other seeds")
    quantity = "accuracy"
    baseline = "certain"
    order = 53
    budgets = {"full": {}}

    def run(self, subject: Subject, settings: Settings) -> Readings:
        never = np.stack([one.margin for one in references(subject, LEAST_RETRAINED)])
        siblings = subject.company.siblings.values()
        if len(siblings) < LEAST_SIBLINGS:
            raise NotPossible(f"{LEAST_SIBLINGS} unlearned models of other seeds are needed (run.audit.siblings)")
        values = accuracies(subject.behaviour.margin, np.stack([one.margin for one in siblings]), never)
        return {"normal": reading(subject.material.asked, values)}


def accuracies(margin: np.ndarray, siblings: np.ndarray, never: np.ndarray) -> np.ndarray:
    """Right guesses (n,) in [0, 1] about a model's margins (n,) and about each of K retrained ones' (K, n)."""
    found = (_log_density(margin, siblings) > _log_density(margin, never)).astype(float)
    right = np.zeros_like(found)
    for number, one in enumerate(never):
        rest = np.delete(never, number, axis=0)
        right += _log_density(one, rest) >= _log_density(one, siblings)
    return (found + right / len(never)) / 2


def _log_density(margin: np.ndarray, models: np.ndarray) -> np.ndarray:
    spread = np.maximum(models.std(axis=0, ddof=1), 0.1)
    return -(((margin - models.mean(axis=0)) / spread) ** 2) / 2 - np.log(spread)
