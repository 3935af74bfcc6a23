"""The base class of attacks: what the attacker has, what it costs, and what comes back.

An attack is one file that registers a class:

    @registry.register_attack("int8")
    class Int8(Attack):
        about = "weights rounded to 8 bits"
        reference = "arXiv 2410.16454"
        needs = ("weights",)
        budgets = {"quick": {}, "standard": {}, "full": {}}

        def run(self, subject: Subject, settings: Settings) -> Readings:
            rounded = subject.changed(quantised(subject.model))
            return {"8 bits": self.ask(rounded)}

`multidelete audit` then runs it, and docs/audit.md's table of attacks is checked against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from lavis.audits.material import Sample
from lavis.audits.subject import Images, Subject, Texts, Timing
from lavis.settings.metric_schema import AUDIT_BUDGETS

Settings = Mapping[str, Any]
ALWAYS: dict[str, Settings] = {name: {} for name in AUDIT_BUDGETS}  # budgets of attacks that need no settings
NOT_QUICK: dict[str, Settings] = {name: {} for name in AUDIT_BUDGETS[1:]}
Sums = tuple[np.ndarray, np.ndarray]  # sum and number of the values of each person


class NotPossible(Exception):  # noqa: N818 - not an error: the data or the models lack what an attack needs
    """An attack cannot be run here; the message says what is missing."""


@dataclass
class Reading:
    """What one variant of an attack measured: by person of Df, and by control person.

    total, count: sum and number of values per person, in the order of `Sample.everyone`. control_total, control_count:
    the same for control people, where the attack has them. facts: more to report, of JSON's own types.
    """

    total: np.ndarray
    count: np.ndarray
    control_total: np.ndarray | None = None
    control_count: np.ndarray | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def sums(self) -> Sums:
        """Of Df's people."""
        return self.total, self.count

    @property
    def control_sums(self) -> Sums | None:
        """Of the control's people, if the attack has them."""
        if self.control_total is None or self.control_count is None:
            return None
        return self.control_total, self.control_count

    @property
    def mean(self) -> float:
        """Mean over Df's pairs."""
        return mean_of(self.sums)

    @property
    def control_mean(self) -> float | None:
        """Mean over the control's pairs."""
        return None if self.control_sums is None else mean_of(self.control_sums)

    def plus(self, other: Reading) -> Reading:
        """Both together, as of several draws."""
        control = None if self.control_total is None else self.control_total + other.control_total
        counts = None if self.control_count is None else self.control_count + other.control_count
        return Reading(self.total + other.total, self.count + other.count, control, counts, self.facts | other.facts)


def mean_of(sums: Sums) -> float:
    """The mean over all pairs."""
    return float(sums[0].sum() / sums[1].sum())


Readings = dict[str, Reading]  # by variant of the attack


class Attack:
    """Base class of attacks; instances have no state.

    Class attributes: `about`, the attack in a few words; `reference`, its paper; `needs`, what the attacker has;
    `budgets`, its settings by budget (an absent budget does not run it); `baseline`: the original's value is that of
    the model as it is ("plain"), or under the same attack ("attacked", for quantities of the attack's own); "certain":
    no other model is attacked, the floor is `chance` and the top 1;
    `quantity`, what is measured; `chance`, its value by guessing, which is the floor where no model is;
    `undoes_maps`, whether it can undo a linear map put behind a tower, and if not,
    `why_not`; `order`, its place.
    """

    about: ClassVar[str] = ""
    reference: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    budgets: ClassVar[Mapping[str, Settings]] = {}
    baseline: ClassVar[str] = "plain"
    quantity: ClassVar[str] = "X"
    chance: ClassVar[float | None] = None
    undoes_maps: ClassVar[bool] = False
    why_not: ClassVar[str] = ""
    order: ClassVar[int] = 100

    @property
    def needs_others(self) -> bool:
        """Whether what it finds depends on models that have no role of their own in the attack."""
        return any("models" in need for need in self.needs)

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        """Estimated seconds for one model; by default asking everything once, nothing without the models it needs."""
        return 0.0 if self.needs_others and not subject.company.never else timing.exam(subject.material)

    def run(self, subject: Subject, settings: Settings) -> Readings:
        """Attack a model; it is not changed. Raises NotPossible."""
        raise NotImplementedError

    def ask(self, subject: Subject, images: Images | None = None, texts: Texts | None = None) -> Reading:
        """X of Df's people, and of the control where that is the floor; images, texts: as of `Subject.recall`."""
        asked, control = subject.material.asked, subject.compared
        rivals = (texts or subject.texts)(subject.material.pool.texts)
        unseen = None if control is None else (control, subject.recall(control, images, texts, rivals))
        return reading(asked, subject.recall(asked, images, texts, rivals), control=unseen)


def reading(sample: Sample, values: np.ndarray, rows: np.ndarray | None = None, control: Any = None) -> Reading:
    """Values (n,) of a sample's pairs (of these rows) by person; `control`: (sample, values, rows) of the control."""
    total, count = by_person(sample, values, rows)
    return Reading(total, count) if control is None else Reading(total, count, *by_person(*control))


def by_person(sample: Sample, values: np.ndarray, rows: np.ndarray | None = None) -> Sums:
    """Sum and number of a sample's values (n,) per person, (P,) each; `rows`: of these pairs alone."""
    who, values, people = sample.who, np.asarray(values, dtype=float), len(sample.everyone)
    if rows is not None:
        who, values = who[rows], values[rows]
    return np.bincount(who, values, people), np.bincount(who, minlength=people).astype(float)
