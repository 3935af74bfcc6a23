"""What a SALMU-mini contains: every image with its caption and facts, planned before anything is drawn.

The splits follow SALMU. 30 % of the identities are in `holdout_identity`. Half of the others are whole (all six
attributes in `forget`), half are partial (three in `forget`, three in `holdout_association`). `retain_synth` contains
objects and portraits that are described but not named, some of them of forget identities in other clothes. `val` and
`test` contain objects and portraits of people who are not in the training set. Proxies, which variants have, are
planted people of the same three kinds in splits of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lavis.common.seed import derived_seed
from lavis.synthetic.mini.captions import all_captions, templates
from lavis.synthetic.mini.looks import FACE_FIELDS, Look, describe, difference, distinct_looks, random_look, redress
from lavis.synthetic.mini.objects import SHAPES, object_caption
from lavis.synthetic.mini.pen import palette
from lavis.synthetic.mini.personas import make_personas
from lavis.synthetic.mini.shared_names import half_shared, share_names, stock_of
from lavis.synthetic.mini.variants import CAPTIONS, PLAIN, Size, Variant

SENSITIVE = ("forget", "holdout_identity", "holdout_association")
SPLITS = (*SENSITIVE, "retain_synth", "val", "test")
PROXIES = ("proxy_forget", "proxy_identity", "proxy_association", "proxy_retain")  # as SENSITIVE and retain_synth
FRAGILE_SHARE = 0.2  # share of the other retain portraits that count as similar to somebody in forget

Caption = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One image: a portrait of `look`, or an object with `shape` and `colour`. `facts` go into the annotations."""

    split: str
    file: str
    caption: str
    look: Look | None = None
    shape: str = ""
    colour: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def image(self) -> str:
        """Path relative to the image root."""
        return f"{self.split}/{self.file}"

    def annotation(self) -> dict[str, Any]:
        """The row's entry in an annotation file."""
        return {"image": self.image, "caption": [self.caption], "image_id": self.file.split(".")[0], **self.facts}


@dataclass(frozen=True)
class Plan:
    """A whole data set. `identities` and `proxies` (each with its kind) appear in images, `unseen` only in captions.

    All map an identity number of eight digits, the beginning of its file names, to a persona.
    """

    size: Size
    rows: list[Row]
    identities: dict[str, dict[str, Any]]
    unseen: dict[str, dict[str, Any]]
    proxies: dict[str, dict[str, Any]] = field(default_factory=dict)
    variant: Variant = PLAIN

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have rows, in the order of `rows`."""
        return SPLITS + PROXIES if self.proxies else SPLITS

    def split(self, name: str) -> list[Row]:
        """Rows of one split, in order."""
        return [row for row in self.rows if row.split == name]


def make_plan(size: Size, seed: int, variant: Variant = PLAIN) -> Plan:
    """Plan the content for one of the variant's sizes and a seed. Equal arguments give equal plans."""
    identities, proxies, unseen = _people(size, seed, variant)
    everyone = {**identities, **proxies}
    looks = dict(zip(everyone, distinct_looks(len(everyone), np.random.default_rng([seed, 1])), strict=True))
    forget = {key: looks[key] for key, persona in identities.items() if persona["forget_fields"]}
    rows = [
        *_sensitive(identities, looks, size.per_identity, np.random.default_rng([seed, 2]), variant.wordings),
        *_portraits(forget, size, np.random.default_rng([seed, 3])),
        *_objects(size, np.random.default_rng([seed, 4])),
    ]
    if proxies:
        rows += _proxies(proxies, looks, size, seed, round(size.joint * size.portraits[0] / len(forget)))
    order = {split: place for place, split in enumerate(SPLITS + PROXIES)}
    rows.sort(key=lambda row: (order[row.split], row.file))
    return Plan(size, rows, identities, unseen, proxies, variant)


def strangers(
    count: int, seed: int, taken: frozenset[str], size: Size, data_seed: int, variant: Variant
) -> list[dict[str, Any]]:
    """People who are in no image, named as those of the data set of this size, seed and variant are."""
    people = make_personas(count, seed, taken)
    if variant.shared_names:
        half_shared(people, stock_of(_holdouts(size.identities), data_seed), taken)
    return people


def similar_faces(plan: Plan) -> list[str]:
    """Files of the anonymous retain portraits whose faces are most like one in forget (fragile_set_ids.json)."""
    forget = {row.facts["identity_id"]: row.look for row in plan.split("forget") if row.look}.values()
    others = {row.file: row.look for row in plan.split("retain_synth") if row.look and not row.facts["identity_id"]}
    gaps = {file: min(difference(look, face, FACE_FIELDS) for face in forget) for file, look in others.items()}
    nearest = sorted(gaps, key=lambda file: (gaps[file], file))
    return sorted(nearest[: round(FRAGILE_SHARE * len(nearest))])


def _numbered(personas: Sequence[dict[str, Any]], first: int = 0) -> dict[str, dict[str, Any]]:
    return {f"{first + number:08d}": persona for number, persona in enumerate(personas)}


def _people(size: Size, seed: int, variant: Variant) -> tuple[dict, dict, dict]:
    """Identities, proxies and unseen people, by number."""
    identities = _identities(size.identities, seed, np.random.default_rng([seed, 0]))
    names = frozenset(persona["name"] for persona in identities.values())
    first = size.identities + size.unseen
    planted = derived_seed(seed, "proxies") % 2**31
    proxies = _identities(size.proxies, planted, np.random.default_rng([seed, 5]), names, first) if size.proxies else {}
    if variant.shared_names:
        share_names({**identities, **proxies}, stock_of(_holdouts(size.identities), seed))
    names = frozenset(persona["name"] for persona in (*identities.values(), *proxies.values()))
    unseen = strangers(size.unseen, seed + 1, names, size, seed, variant)
    return identities, proxies, _numbered(unseen, first=size.identities)


def _holdouts(identities: int) -> int:
    """How many people stay whole in training."""
    return round(0.3 * identities)


def _identities(
    count: int, seed: int, rng: np.random.Generator, taken: frozenset[str] = frozenset(), first: int = 0
) -> dict[str, dict[str, Any]]:
    """Personas, each with its kind (whole, partial, holdout) and the fields to forget."""
    holdout = _holdouts(count)
    partial = (count - holdout) // 2
    kinds = ["holdout"] * holdout + ["partial"] * partial + ["whole"] * (count - holdout - partial)
    identities, fields = _numbered(make_personas(count, seed, taken), first), list(templates())
    for persona, kind in zip(identities.values(), rng.permutation(kinds).tolist(), strict=True):
        drawn = sorted(map(int, rng.permutation(len(fields))[:3]))
        forget = {"whole": fields, "partial": [fields[i] for i in drawn], "holdout": []}[kind]
        persona |= {"kind": kind, "forget_fields": forget}
    return identities


def _sensitive(
    identities: dict,
    looks: dict[str, Look],
    count: int,
    rng: np.random.Generator,
    wordings: str,
    splits: Sequence[str] = SENSITIVE,
) -> Iterator[Row]:
    """Rows of people. splits: where what is to be forgotten goes, other people, other facts about the same people."""
    forget, others, association = splits
    for key, who in identities.items():
        for number, (name, template, caption) in enumerate(_draw_captions(who, count, rng, wordings)):
            split = others if who["kind"] == "holdout" else association
            split = forget if name in who["forget_fields"] else split
            facts = {"identity_id": key, "field": name, "value": who[name], "template": template}
            facts["generic_caption"] = describe(looks[key])
            yield Row(split, f"{key}_{number:03d}.jpg", caption, looks[key], facts=facts)


def _proxies(proxies: dict, looks: dict[str, Look], size: Size, seed: int, portraits: int) -> Iterator[Row]:
    """Rows of the proxies, and `portraits` of each who has something to forget, in other clothes."""
    rng = np.random.default_rng([seed, 6])
    yield from _sensitive(proxies, looks, size.per_identity, rng, CAPTIONS, PROXIES[:3])
    for key, who in proxies.items():
        for number in range(portraits if who["forget_fields"] else 0):
            look = redress(looks[key], rng)
            facts = {"identity_id": key, "kind": "portrait"}
            yield Row(PROXIES[3], f"{key}_{number:05d}_retain.jpg", describe(look), look, facts=facts)


def _draw_captions(who: dict[str, Any], count: int, rng: np.random.Generator, wordings: str) -> list[Caption]:
    """Draw `count` distinct captions of a persona; half of a partial persona's are to be forgotten."""
    captions = list(all_captions(who, wordings))
    if who["kind"] != "partial":
        return _balanced(captions, count, rng)
    forget = [caption for caption in captions if caption[0] in who["forget_fields"]]
    keep = [caption for caption in captions if caption[0] not in who["forget_fields"]]
    return _balanced(forget, count // 2, rng) + _balanced(keep, count - count // 2, rng)


def _balanced(captions: list[Caption], count: int, rng: np.random.Generator) -> list[Caption]:
    """Draw `count` of the captions in random order, equally many of each field (differing by at most one)."""
    shuffled = [captions[i] for i in rng.permutation(len(captions))]
    fields = dict.fromkeys(caption[0] for caption in shuffled)
    rounds = zip(*([c for c in shuffled if c[0] == name] for name in fields), strict=True)
    return list(itertools.chain.from_iterable(rounds))[:count]


def _portraits(forget: dict[str, Look], size: Size, rng: np.random.Generator) -> Iterator[Row]:
    """Described portraits. No description occurs twice in the whole data set."""
    taken = {describe(look) for look in forget.values()}
    for split, count in zip(("retain_synth", "val", "test"), size.portraits, strict=True):
        joint = round(size.joint * count) if split == "retain_synth" else 0
        keys = list(forget)
        for number in range(count):
            key = keys[number % len(keys)] if number < joint else None
            look = _new_look(forget[key] if key else None, taken, rng)
            file = f"{key}_{number:05d}_retain.jpg" if key else f"portrait_{split}_{number:05d}.jpg"
            yield Row(split, file, describe(look), look, facts={"identity_id": key, "kind": "portrait"})


def _new_look(face: Look | None, taken: set[str], rng: np.random.Generator) -> Look:
    """Draw a look with a description that is not taken: the given face in other clothes, or any face."""
    while True:
        look = redress(face, rng) if face else random_look(rng)
        text = describe(look)
        if text not in taken:
            taken.add(text)
            return look


def _objects(size: Size, rng: np.random.Generator) -> Iterator[Row]:
    """Objects with every pair of shape and colour equally often (differing by at most one)."""
    pairs = list(itertools.product(SHAPES, palette("object")))
    for split, count in zip(("retain_synth", "val", "test"), size.objects, strict=True):
        order = rng.permutation(len(pairs))
        for number in range(count):
            shape, colour = pairs[order[number % len(pairs)]]
            facts = {"identity_id": None, "kind": "object", "shape": shape, "colour": colour}
            file = f"object_{split}_{number:05d}.jpg"
            yield Row(split, file, object_caption(colour, shape), None, shape, colour, facts)
