"""Captions about people who do not exist, in the wording of the forget set's captions, for cpd and erase_hold.

A wording is a forget caption with its name and value cut out. Captions that lack one of them are skipped and counted
(lavis.synthetic.mentions has the spellings). Names and values come from Faker, in the locales of SALMU-mini's personas.
The holdout splits are never read: an identity is *whole* if all of its fields in identities_metadata.json are in the
forget set, else *partial*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from lavis.common.errors import DataError
from lavis.common.seed import derived_seed
from lavis.synthetic.mentions import Mentions, marked
from lavis.synthetic.mini.personas import make_personas

PEOPLE = 1300  # fictitious personas to draw captions from
NAME_ALONE = "name"  # kind of a caption about a person without a field and value
NAME, VALUE = "\x00", "\x01"  # placeholders in wordings; captions contain no control characters
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
    """What is needed of an annotation entry: its captions, and identity_id, field and value in `extra`."""

    @property
    def captions(self) -> tuple[str, ...]: ...

    @property
    def extra(self) -> dict[str, Any]: ...


class Fiction:
    """Fictitious captions for a forget set.

    Args:
        df: entries of the forget set, with identity_id, field and value.
        people: identity → facts, including "name".
        seed: seed of the personas. strict: replace the names of partial identities too.
        count: personas to draw captions from.

    `mentions` counts in how many captions name and value were found. `statements` has (kind, wording, name) of each
    forget caption that can be used. `counterfactual` maps it to the same
    caption with the name and value of the identity's double, a fictitious persona; for a partial identity only the
    value is replaced, unless strict.

    Raises DataError if no caption can be used.
    """

    def __init__(
        self,
        df: Sequence[Captioned],
        people: Mapping[str, Mapping[str, Any]],
        seed: int = 42,
        strict: bool = False,
        count: int = PEOPLE,
    ) -> None:
        self.mentions = Mentions()
        rows = [row for entry in df for row in _usable(entry, people, self.mentions)]
        if not rows:
            raise DataError(
                "no caption of the forget set contains its person's name (of SALMU: that of "
                f"identities_metadata.json, and a value of a field among {', '.join(KINDS)}); fictitious captions need "
                f"at least one. Found: {self.mentions}. In a table of your own, name the column of names: "
                "datasets.pairs.columns.name"
            )
        self.wordings: dict[str, list[str]] = {}
        forgotten: dict[str, set[str]] = {who: set() for who, *_ in rows}
        for _, kind, _, wording, _ in rows:
            self.wordings.setdefault(kind, []).append(wording)
        for entry in df:  # a field is forgotten even if no caption of it can be used
            forgotten.get(_person(entry), set()).add(_kind(entry))
        self.wordings = {kind: sorted(set(wordings)) for kind, wordings in sorted(self.wordings.items())}
        whole = {who: _fields(people[who]) <= fields for who, fields in forgotten.items()}
        self.whole, self.partial = ([who for who in sorted(forgotten) if whole[who] is kind] for kind in (True, False))
        self.names = {who: str(people[who]["name"]) for who in forgotten}
        real = frozenset(str(facts.get("name")) for facts in people.values())
        invented = make_personas(len(forgotten) + count, derived_seed(seed, "fiction") % 2**31, real)
        self.double = dict(zip(sorted(forgotten), invented, strict=False))
        self.personas = _related(invented[len(forgotten) :], list(self.names.values()), real, seed)
        self.counterfactual: dict[str, str] = {}
        self.statements = {caption: (kind, wording, name) for _, kind, caption, wording, name in rows}
        for who, kind, caption, wording, name in rows:
            double = self.double[who]
            shown = double["name"] if strict or whole[who] else name
            self.counterfactual[caption] = _fill(wording, shown, double[kind])

    def held(self, draws: np.random.Generator, n: int) -> list[str]:
        """n captions about fictitious personas, half of whom share a first or last name with somebody in Df."""
        return [self._caption(draws, str(self._persona(draws)["name"])) for _ in range(n)]

    def kept_names(self, draws: np.random.Generator, n: int) -> list[str]:
        """n captions with names of partial identities and fictitious values of any field; none without partial ones."""
        return [
            self._caption(draws, self.names[self._pick(draws, self.partial)]) for _ in range(n if self.partial else 0)
        ]

    def renamed(self, draws: np.random.Generator, n: int) -> list[tuple[str, str]]:
        """n pairs of captions with one fictitious value: first with a whole identity's name, then with its double's."""
        pairs = []
        for _ in range(n if self.whole else 0):
            who = self._pick(draws, self.whole)
            wording, value = self._statement(draws)
            pairs.append((_fill(wording, self.names[who], value), _fill(wording, self.double[who]["name"], value)))
        return pairs

    def other_values(self, draws: np.random.Generator, caption: str, n: int) -> list[str]:
        """n captions that say the same of the same person, with fictitious values."""
        kind, wording, name = self.statements[caption]
        return [_fill(wording, name, self._persona(draws).get(kind, "")) for _ in range(n)]

    def _caption(self, draws: np.random.Generator, name: str) -> str:
        wording, value = self._statement(draws)
        return _fill(wording, name, value)

    def _statement(self, draws: np.random.Generator) -> tuple[str, str]:
        """A wording and a fictitious value for it."""
        kind = self._pick(draws, list(self.wordings))
        return self._pick(draws, self.wordings[kind]), self._persona(draws)[kind]

    def _persona(self, draws: np.random.Generator) -> Persona:
        return self.personas[int(draws.integers(len(self.personas)))]

    def _pick(self, draws: np.random.Generator, items: Sequence[str]) -> str:
        return items[int(draws.integers(len(items)))]


def kind_of(field: Any) -> str | None:
    """The key of KINDS for a data set's field, in any spelling; None if there is none."""
    plain = "".join(letter for letter in str(field).lower() if letter.isalnum())
    return next((kind for kind, names in KINDS.items() if plain in names), None)


def _usable(
    entry: Captioned, people: Mapping[str, Mapping[str, Any]], mentions: Mentions
) -> list[tuple[str, str, str, str, str]]:
    """(identity, kind, caption, wording, name) of each caption with its name and value, once each; counts all captions.

    Rows without a value (of the user's own data) need the name alone; their kind is NAME_ALONE.
    """
    who, kind, value = _person(entry), _kind(entry), str(entry.extra.get("value") or "")
    name, rows = str(people.get(who, {}).get("name") or ""), []
    for caption in entry.captions:
        wording = marked(caption, name, NAME) if name else caption
        filled = marked(wording, value, VALUE) if value else wording
        named, valued = filled.count(NAME) == 1, filled.count(VALUE) == 1
        mentions.forget_captions += 1
        mentions.names_found += named
        mentions.values_asked += bool(value)
        mentions.values_found += valued
        mentions.fields_unknown += bool(value) and not kind
        if named and (valued if value else True) and (kind or not value):
            mentions.captions_usable += 1
            rows.append((who, kind or NAME_ALONE, caption, filled, name))
    return rows


def _person(entry: Captioned) -> str:
    return str(entry.extra.get("identity_id", entry.extra.get("person")))


def _kind(entry: Captioned) -> str:
    """The kind of the row's field; NAME_ALONE for a row without a value, "" for a field that is not in KINDS."""
    return (kind_of(entry.extra.get("field")) or "") if entry.extra.get("value") else NAME_ALONE


def _fields(facts: Mapping[str, Any]) -> set[str]:
    return {kind for key, value in facts.items() if value and (kind := kind_of(key))}


def _fill(wording: str, name: str, value: str) -> str:
    return wording.replace(NAME, name).replace(VALUE, value)


def _related(personas: list[Persona], names: list[str], real: frozenset[str], seed: int) -> list[Persona]:
    """Give every second persona the first or last name of somebody in Df, unless that makes a real person's name."""
    draws = np.random.default_rng(derived_seed(seed, "fiction", "names"))
    related = []
    for number, persona in enumerate(personas):
        borrowed, own = names[int(draws.integers(len(names)))].split(), persona["name"].split()
        mixed = [borrowed[0], own[-1]] if draws.integers(2) else [own[0], borrowed[-1]]
        name = " ".join(mixed)
        related.append({**persona, "name": name} if number % 2 and name not in real else persona)
    return related
