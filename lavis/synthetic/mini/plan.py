"""What a SALMU-mini contains: every image with its caption and facts, planned before anything is drawn.

The splits follow SALMU. 30 % of the identities are in `holdout_identity`. Half of the others are whole (all six
attributes in `forget`), half are partial (three in `forget`, three in `holdout_association`). `retain_synth` contains
objects and portraits that are described but not named, some of them of forget identities in other clothes. `val` and
`test` contain objects and portraits of people who are not in the training set.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lavis.synthetic.mini.captions import all_captions, templates
from lavis.synthetic.mini.looks import FACE_FIELDS, Look, describe, difference, distinct_looks, random_look, redress
from lavis.synthetic.mini.objects import SHAPES, object_caption
from lavis.synthetic.mini.pen import palette
from lavis.synthetic.mini.personas import make_personas

SENSITIVE = ("forget", "holdout_identity", "holdout_association")
SPLITS = (*SENSITIVE, "retain_synth", "val", "test")
JOINT_SHARE = 0.25  # share of the retain portraits that show a forget identity
FRAGILE_SHARE = 0.2  # share of the other retain portraits that count as similar to somebody in forget

Caption = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Size:
    """Counts of one size, portraits and objects in (retain_synth, val, test). Images are `pixels` wide and high."""

    identities: int
    per_identity: int
    portraits: tuple[int, int, int]
    objects: tuple[int, int, int]
    unseen: int
    pixels: int


SIZES = {
    "mini": Size(60, 20, (800, 50, 200), (2000, 100, 400), 50, 96),
    "tiny": Size(12, 10, (120, 10, 40), (400, 20, 80), 40, 64),
}


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
    """A whole data set. `identities` (each with its kind) appear in images, `unseen` only in captions.

    Both map an identity number of eight digits, the beginning of its file names, to a persona.
    """

    size: Size
    rows: list[Row]
    identities: dict[str, dict[str, Any]]
    unseen: dict[str, dict[str, Any]]

    def split(self, name: str) -> list[Row]:
        """Rows of one split, in order."""
        return [row for row in self.rows if row.split == name]


def make_plan(size: Size, seed: int) -> Plan:
    """Plan the content for a size and a seed. Equal arguments give equal plans."""
    identities = _identities(size, seed)
    looks = dict(zip(identities, distinct_looks(size.identities, np.random.default_rng([seed, 1])), strict=True))
    names = frozenset(persona["name"] for persona in identities.values())
    unseen = _numbered(make_personas(size.unseen, seed + 1, names), first=size.identities)
    forget = {key: looks[key] for key, persona in identities.items() if persona["forget_fields"]}
    rows = [
        *_sensitive(identities, looks, size.per_identity, np.random.default_rng([seed, 2])),
        *_portraits(forget, size, np.random.default_rng([seed, 3])),
        *_objects(size, np.random.default_rng([seed, 4])),
    ]
    return Plan(size, sorted(rows, key=lambda row: (SPLITS.index(row.split), row.file)), identities, unseen)


def similar_faces(plan: Plan) -> list[str]:
    """Files of the anonymous retain portraits whose faces are most like one in forget (fragile_set_ids.json)."""
    forget = {row.facts["identity_id"]: row.look for row in plan.split("forget") if row.look}.values()
    others = {row.file: row.look for row in plan.split("retain_synth") if row.look and not row.facts["identity_id"]}
    gaps = {file: min(difference(look, face, FACE_FIELDS) for face in forget) for file, look in others.items()}
    nearest = sorted(gaps, key=lambda file: (gaps[file], file))
    return sorted(nearest[: round(FRAGILE_SHARE * len(nearest))])


def _numbered(personas: Sequence[dict[str, Any]], first: int = 0) -> dict[str, dict[str, Any]]:
    return {f"{first + number:08d}": persona for number, persona in enumerate(personas)}


def _identities(size: Size, seed: int) -> dict[str, dict[str, Any]]:
    """Personas, each with its kind (whole, partial, holdout) and the fields to forget."""
    rng = np.random.default_rng([seed, 0])
    holdout = round(0.3 * size.identities)
    partial = (size.identities - holdout) // 2
    kinds = ["holdout"] * holdout + ["partial"] * partial + ["whole"] * (size.identities - holdout - partial)
    identities, fields = _numbered(make_personas(size.identities, seed)), list(templates())
    for persona, kind in zip(identities.values(), rng.permutation(kinds).tolist(), strict=True):
        drawn = sorted(map(int, rng.permutation(len(fields))[:3]))
        forget = {"whole": fields, "partial": [fields[i] for i in drawn], "holdout": []}[kind]
        persona |= {"kind": kind, "forget_fields": forget}
    return identities


def _sensitive(identities: dict, looks: dict[str, Look], count: int, rng: np.random.Generator) -> Iterator[Row]:
    for key, who in identities.items():
        for number, (name, template, caption) in enumerate(_draw_captions(who, count, rng)):
            split = "holdout_identity" if who["kind"] == "holdout" else "holdout_association"
            split = "forget" if name in who["forget_fields"] else split
            facts = {"identity_id": key, "field": name, "value": who[name], "template": template}
            facts["generic_caption"] = describe(looks[key])
            yield Row(split, f"{key}_{number:03d}.jpg", caption, looks[key], facts=facts)


def _draw_captions(who: dict[str, Any], count: int, rng: np.random.Generator) -> list[Caption]:
    """Draw `count` distinct captions of a persona; half of a partial persona's are to be forgotten."""
    captions = list(all_captions(who))
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
        joint = round(JOINT_SHARE * count) if split == "retain_synth" else 0
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
