"""Captions about people who do not exist, worded as those of the forget set: what cpd and erase_hold hold and aim at.

The wordings are the forget captions' own, with the name and the value cut out; a caption that does not contain both
literally (a paraphrase) is left out. Names and values are Faker's, in the mixed locales of SALMU-mini's personas. Pairs
of the holdout splits are never read: whether a person is *whole* follows from the fields that identities_metadata.json
gives and those that Df asks to forget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from lavis.common.errors import DataError
from lavis.common.seed import derived_seed
from lavis.synthetic.mini.personas import make_personas

PEOPLE = 1300  # fictitious personas to draw captions from
NAME, VALUE = "\x00", "\x01"  # no caption has these characters
KINDS = {
    "city": ("city", "location", "hometown", "residence"),
    "phone": ("phone", "phonenumber", "telephone"),
    "email": ("email", "emailaddress"),
    "iban": ("iban", "bankaccount"),
    "job": ("job", "occupation", "profession"),
    "blood_type": ("bloodtype",),
}
Persona = dict[str, str]


class Captioned(Protocol):
    """What is read of an annotation entry: its captions, and the fields identity_id, field and value of `extra`."""

    @property
    def captions(self) -> tuple[str, ...]: ...

    @property
    def extra(self) -> dict[str, Any]: ...


class Fiction:
    """Fictitious captions beside a forget set.

    Args:
        df: its entries, with identity_id, field and value.
        people: identity → facts, "name" among them.
        seed: of the personas. strict: replace partial identities' names as well.

    `counterfactual`: forget caption → the same with name and value of one fixed fictitious persona; for a partial
    identity (some of its fields are not in Df) with the value alone. Raises DataError when no caption can be used.
    """

    def __init__(
        self,
        df: Sequence[Captioned],
        people: Mapping[str, Mapping[str, Any]],
        seed: int = 42,
        strict: bool = False,
        count: int = PEOPLE,
    ) -> None:
        rows = [row for entry in df for row in _told(entry, people)]
        if not rows:
            raise DataError(
                "no caption of the forget set contains its person's name (identities_metadata.json) and its value "
                f"literally, with a field among {', '.join(KINDS)}: fictitious captions cannot be made"
            )
        self.wordings: dict[str, list[str]] = {}
        asked: dict[str, set[str]] = {}
        for who, kind, _, wording, _ in rows:
            asked.setdefault(who, set()).add(kind)
            self.wordings.setdefault(kind, []).append(wording)
        self.wordings = {kind: sorted(set(wordings)) for kind, wordings in sorted(self.wordings.items())}
        whole = {who: _fields(people[who]) <= fields for who, fields in asked.items()}
        self.whole, self.partial = ([who for who in sorted(asked) if whole[who] is kind] for kind in (True, False))
        self.names = {who: str(people[who]["name"]) for who in asked}
        real = frozenset(str(facts.get("name")) for facts in people.values())
        invented = make_personas(len(asked) + count, derived_seed(seed, "fiction") % 2**31, real)
        self.double = dict(zip(sorted(asked), invented, strict=False))
        self.personas = _related(invented[len(asked) :], list(self.names.values()), real, seed)
        self.counterfactual = {}
        for who, kind, caption, wording, name in rows:
            double = self.double[who]
            shown = double["name"] if strict or whole[who] else name
            self.counterfactual[caption] = _fill(wording, shown, double[kind])

    def held(self, draws: np.random.Generator, n: int) -> list[str]:
        """n captions of fictitious personas; half of these share a first or last name with somebody in Df."""
        return [self._caption(draws, str(self._any(draws)["name"])) for _ in range(n)]

    def kept_names(self, draws: np.random.Generator, n: int) -> list[str]:
        """n captions of partial identities' names with fictitious values, of any field; none without such people."""
        return [
            self._caption(draws, self.names[self._of(draws, self.partial)]) for _ in range(n if self.partial else 0)
        ]

    def renamed(self, draws: np.random.Generator, n: int) -> list[tuple[str, str]]:
        """n pairs: a whole identity's name with a fictitious value; its fictitious name with the same value."""
        pairs = []
        for _ in range(n if self.whole else 0):
            who = self._of(draws, self.whole)
            kind, wording, value = self._saying(draws)
            pairs.append((_fill(wording, self.names[who], value), _fill(wording, self.double[who]["name"], value)))
        return pairs

    def _caption(self, draws: np.random.Generator, name: str) -> str:
        _, wording, value = self._saying(draws)
        return _fill(wording, name, value)

    def _saying(self, draws: np.random.Generator) -> tuple[str, str, str]:
        kind = self._of(draws, list(self.wordings))
        return kind, self._of(draws, self.wordings[kind]), self._any(draws)[kind]

    def _any(self, draws: np.random.Generator) -> Persona:
        return self.personas[int(draws.integers(len(self.personas)))]

    def _of(self, draws: np.random.Generator, items: Sequence[str]) -> str:
        return items[int(draws.integers(len(items)))]


def kind_of(field: Any) -> str | None:
    """Which of a persona's fields a data set's field is, whatever its spelling; None for others."""
    plain = "".join(letter for letter in str(field).lower() if letter.isalnum())
    return next((kind for kind, names in KINDS.items() if plain in names), None)


def _told(entry: Captioned, people: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """(identity, kind, caption, wording, name) of an entry's captions that tell name and value literally, once each."""
    who, kind = str(entry.extra.get("identity_id")), kind_of(entry.extra.get("field"))
    name, value = str(people.get(who, {}).get("name") or ""), str(entry.extra.get("value") or "")
    if kind is None or not name or not value:
        return []
    found = []
    for caption in entry.captions:
        if caption.count(name) == 1 and caption.replace(name, NAME).count(value) == 1:
            found.append((who, kind, caption, caption.replace(name, NAME).replace(value, VALUE), name))
    return found


def _fields(facts: Mapping[str, Any]) -> set[str]:
    return {kind for key, value in facts.items() if value and (kind := kind_of(key))}


def _fill(wording: str, name: str, value: str) -> str:
    return wording.replace(NAME, name).replace(VALUE, value)


def _related(personas: list[Persona], names: list[str], real: frozenset[str], seed: int) -> list[Persona]:
    """The personas, every second one with the first or last name of somebody in Df, unless that names a real person."""
    draws = np.random.default_rng(derived_seed(seed, "fiction", "names"))
    made = []
    for number, persona in enumerate(personas):
        borrowed, own = names[int(draws.integers(len(names)))].split(), persona["name"].split()
        mixed = [borrowed[0], own[-1]] if draws.integers(2) else [own[0], borrowed[-1]]
        name = " ".join(mixed)
        made.append({**persona, "name": name} if number % 2 and name not in real else persona)
    return made
