"""RMIA, offline: does the pair gain more from this model than random pairs that it never saw?

    ratio(x) = p(x) / p̄(x),  p̄ = ½((1 + a)·mean_r p_r(x) + (1 − a)),  a = 0.3
    score(x) = share of control pairs z with ratio(x)/ratio(z) ≥ 1

It works with one reference model, where LiRA needs many.
"""

from __future__ import annotations

import numpy as np

from lavis.audits.attack import Readings, Settings
from lavis.audits.membership import Membership, against_references
from lavis.audits.subject import Subject
from lavis.common.registry import registry

A = 0.3


@registry.register_attack("rmia")
class Rmia(Membership):
    """Control pairs are both the random pairs z and the non-members."""

    about = "gain in probability against control pairs"
    reference = "Zarifzadeh et al., arXiv 2312.03262"
    order = 51

    def run(self, subject: Subject, settings: Settings) -> Readings:
        member, other = against_references(subject, ratios)
        return {"offline": self.read(subject, dominance(member, other), dominance(other, other))}


def ratios(margin: np.ndarray, never: np.ndarray) -> np.ndarray:
    """log(p/p̄) of margins (n,), given those of K models that never saw the pairs, (K, n)."""
    reference = 0.5 * ((1 + A) * _probability(never).mean(axis=0) + (1 - A))
    return -np.logaddexp(0, -margin) - np.log(reference)


def dominance(ratio: np.ndarray, population: np.ndarray) -> np.ndarray:
    """The share of the population's ratios (m,) that each ratio (n,) reaches, (n,)."""
    return np.searchsorted(np.sort(population), ratio, side="right") / len(population)


def _probability(margin: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -margin))
