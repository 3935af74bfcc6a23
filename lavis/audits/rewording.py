"""Attacks that ask in other words: all captions of the pool are reworded alike, so that the wording gives no lead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lavis.audits.attack import NOT_QUICK, Attack, NotPossible, Reading, Readings, Settings, reading
from lavis.audits.material import Sample, person_of
from lavis.audits.subject import Subject, Timing
from lavis.datasets.annotations import Entry
from lavis.salmubench.identity_mrr import CaptionPool, pool_ranks


@dataclass(frozen=True)
class Said:
    """A caption with the name and the value in it, "" where they are unknown."""

    caption: str
    name: str
    value: str


Reword = Callable[[Said], str]  # gives "" where a caption lacks what it needs


def filled(template: str) -> Reword:
    """The template with the name and the value of a caption that has both."""
    return lambda one: template.format(name=one.name, value=one.value) if one.name and one.value else ""


class Rewording(Attack):
    """Base class: subclasses give `wordings`, a function from a caption to another for each variant."""

    needs = ("questions",)
    why_not = "the question is in other words, and the answer still goes through the map"
    budgets: ClassVar = NOT_QUICK

    def wordings(self) -> dict[str, Reword]:
        """The variants by name."""
        raise NotImplementedError

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        return len(self.wordings()) * timing.caption * len(subject.material.pool.texts) + timing.exam(subject.material)

    def run(self, subject: Subject, settings: Settings) -> Readings:
        found = {name: self._asked(subject, reword) for name, reword in self.wordings().items()}
        readings = {name: one for name, one in found.items() if one is not None}
        if not readings:
            raise NotPossible("captions do not contain their person's name or value literally")
        return readings

    def _asked(self, subject: Subject, reword: Reword) -> Reading | None:
        material = subject.material
        pool = [(text, who) for one, who in said(material.spoken, material.names) if (text := reword(one))]
        if not pool:
            return None
        rivals = CaptionPool([text for text, _ in pool], [who for _, who in pool])
        samples = [material.asked, *([material.control] if material.control else [])]
        found = [_ranked(subject, sample, reword, rivals) for sample in samples]
        if found[0] is None:
            return None
        control = (samples[1], *found[1]) if len(found) > 1 and found[1] is not None else None
        return reading(samples[0], *found[0], control=control)


def said(entries: Iterable[Entry], names: dict[str, str]) -> list[tuple[Said, str]]:
    """Each caption with its parts, and whom it is about."""
    rows = [(caption, person_of(entry), entry.extra) for entry in entries for caption in entry.captions]
    return [
        (Said(text, _literal(text, names.get(who)), _literal(text, extra.get("value"))), who)
        for text, who, extra in rows
    ]


def _literal(caption: str, part: object) -> str:
    return str(part) if part and caption.count(str(part)) == 1 else ""


def _ranked(
    subject: Subject, sample: Sample, reword: Reword, rivals: CaptionPool
) -> tuple[np.ndarray, np.ndarray] | None:
    """1/rank of each pair (0 for those without the wording), and the rows that have it; None if no pair has."""
    own = said(sample.dataset.entries, subject.material.names)
    texts = [reword(one) for one, _ in own]
    rows = np.array([row for row, text in enumerate(texts) if text], dtype=int)
    if not len(rows):
        return None
    captions, people = [texts[row] for row in rows], [sample.people[row] for row in rows]
    image = subject.images(sample)[rows]
    ranks = pool_ranks(image, subject.texts(captions), captions, people, rivals, subject.texts(rivals.texts))
    values = np.zeros(len(sample))
    values[rows] = 1 / ranks.apart
    return values, rows
