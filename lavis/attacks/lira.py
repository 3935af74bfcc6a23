"""LiRA, offline: is the margin higher than that of models which never saw the pair?

    φ = log p/(1 − p);  score = (φ(x) − mean_r φ_r(x)) / σ,  r over models that never saw Df

σ is the pair's own over four or more such models, else one for all pairs (the paper's choice for few models).
"""

from __future__ import annotations

import numpy as np

from lavis.audits.attack import Readings, Settings
from lavis.audits.membership import Membership, against_references
from lavis.audits.subject import Subject
from lavis.common.registry import registry

FEW = 4


@registry.register_attack("lira")
class Lira(Membership):
    """Retrained, clean and shadow models are the reference; control pairs are the non-members."""

    about = "likelihood ratio of the margin against models that never saw the pair"
    reference = "Carlini et al., arXiv 2112.03570"
    order = 50

    def run(self, subject: Subject, settings: Settings) -> Readings:
        return {"offline": self.read(subject, *against_references(subject, scores))}


def scores(margin: np.ndarray, never: np.ndarray) -> np.ndarray:
    """Scores (n,) of margins (n,) against those of K models that never saw the pairs, (K, n)."""
    spread = never.std(axis=0, ddof=1) if len(never) >= FEW else np.ones_like(margin)
    return (margin - never.mean(axis=0)) / np.maximum(spread, 1e-6)
