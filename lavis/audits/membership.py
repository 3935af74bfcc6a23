"""What the attacks on membership share: scores of Df's pairs among those of control pairs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from lavis.audits.attack import ALWAYS, Attack, NotPossible, Reading, reading
from lavis.audits.behaviour import Behaviour
from lavis.audits.material import Sample
from lavis.audits.subject import Subject

RATES = (0.01, 0.001)
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (margins (n,), those of K other models (K, n)) -> (n,)


class Membership(Attack):
    """Base class. The value of a pair is the share of control pairs with a lower score; its mean is the AUC."""

    needs: ClassVar[tuple[str, ...]] = ("questions", "models that never saw Df")
    baseline = "attacked"
    quantity = "AUC"
    chance = 0.5
    why_not = "it reads the answers as they are; a map that garbles them hides membership from it"
    budgets: ClassVar = ALWAYS

    def read(self, subject: Subject, member: np.ndarray, other: np.ndarray, rows: np.ndarray | None = None) -> Reading:
        """The reading of scores of Df's pairs (n,) and of control pairs (m,): higher means "was trained on".

        rows: the pairs of Df that have a score, if not all.
        """
        asked = subject.material.asked
        values, places = np.zeros(len(asked)), np.arange(len(asked)) if rows is None else rows
        values[places] = percentiles(member, other)
        rates = {f"tpr_at_{rate:g}": true_positives(member, other, rate) for rate in RATES}
        return dataclasses.replace(reading(asked, values, places), facts=rates)


def control_of(subject: Subject) -> Sample:
    """The control pairs. Raises NotPossible if there are none."""
    if subject.material.control is None:
        raise NotPossible("there are no control pairs to compare with (run.audit.control)")
    return subject.material.control


def against_references(subject: Subject, score: Score) -> tuple[np.ndarray, np.ndarray]:
    """Scores of Df's pairs (n,) and of control pairs (m,), given what the `references` do with the same pairs."""
    never, own = references(subject), subject.behaviour
    member = score(own.margin, np.stack([one.margin for one in never]))
    return member, score(own.control_margin, np.stack([one.control_margin for one in never]))


def references(subject: Subject, least: int = 1) -> list[Behaviour]:
    """What the other models do that never saw Df. Raises NotPossible for fewer than `least`, and without a control."""
    control_of(subject)
    own = subject.behaviour.margin
    never = [one for one in subject.company.never.values() if not np.array_equal(one.margin, own)]
    if len(never) < least:
        raise NotPossible(
            f"{least} other models that never saw Df are needed, there are {len(never)} (run.audit.shadows)"
        )
    return never


def percentiles(member: np.ndarray, other: np.ndarray) -> np.ndarray:
    """For each of n scores the share of m others that are lower, ties counting one half, (n,)."""
    ordered = np.sort(other)
    below, upto = (np.searchsorted(ordered, member, side=side) for side in ("left", "right"))
    return (below + upto) / (2 * len(ordered))


def true_positives(member: np.ndarray, other: np.ndarray, rate: float) -> float:
    """The share of members found at this rate of false alarms; with few others the next rate below that is possible."""
    allowed = int(rate * len(other))
    return float((member > np.sort(other)[len(other) - 1 - allowed]).mean())
