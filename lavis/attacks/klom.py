"""KLoM: the divergence between a pair's margins over unlearned models and over retrained ones.

    KLoM(x) = KL( N(mean_S, σ²) ‖ N(mean_R, σ²) ) = (mean_S − mean_R)² / (2σ²),  at most 12

S: this model and, if it is the unlearned one, its siblings; R: models that never saw Df. The paper's histograms need
hundreds of models; with few, both are taken as normal with one spread, that of R over all pairs.
"""

from __future__ import annotations

import numpy as np

from lavis.audits.attack import Readings, Settings, reading
from lavis.audits.membership import Membership, references
from lavis.audits.subject import Subject
from lavis.common.registry import registry

MOST = 12.0


@registry.register_attack("klom")
class Klom(Membership):
    """Needs two other models that never saw Df (run.audit.shadows); siblings make it steadier."""

    about = "divergence of the margins from those of models that never saw the pair"
    reference = "Georgiev et al., arXiv 2410.23232"
    quantity = "KLoM"
    chance = None
    why_not = "it measures the distance to retraining, also of models that know nothing"
    order = 54

    def run(self, subject: Subject, settings: Settings) -> Readings:
        never = np.stack([one.margin for one in references(subject, 2)])
        own = [subject.behaviour.margin]
        if not any(np.array_equal(own[0], one.margin) for one in subject.company.never.values()):
            own += [one.margin for one in subject.company.siblings.values()]
        values = divergences(np.stack(own), never)
        return {"normal": reading(subject.material.asked, values)}


def divergences(models: np.ndarray, never: np.ndarray) -> np.ndarray:
    """KLoM (n,) of margins of S models (S, n) and of R models (R, n)."""
    variance = max(float(never.var(axis=0, ddof=1).mean()), 1e-9)
    return np.minimum((models.mean(axis=0) - never.mean(axis=0)) ** 2 / (2 * variance), MOST)
