"""Pairs drawn for an audit: people whom no model has seen, shapes, and new photographs of SALMU-mini's people."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from lavis.common.files import write_bytes
from lavis.common.seed import derived_seed
from lavis.datasets.annotations import Entry
from lavis.synthetic.mini.captions import all_captions
from lavis.synthetic.mini.layout import image_bytes
from lavis.synthetic.mini.looks import Look, describe, distinct_looks
from lavis.synthetic.mini.objects import SHAPES, object_caption
from lavis.synthetic.mini.pen import palette
from lavis.synthetic.mini.plan import Row, strangers
from lavis.synthetic.mini.variants import PLAIN, SIZES, Variant


def draw_fresh(
    folder: Path,
    size: str,
    people: int,
    seed: int,
    taken: Collection[str],
    variant: Variant = PLAIN,
    data_seed: int = 42,
) -> list[Entry]:
    """Draw `people` new people with as many pictured captions as SALMU-mini's of this size and variant have.

    folder: where their images are written (those that exist are not drawn again). taken: names that they must not have.
    data_seed: the data set's, whose names recur in the variant `shared_names`.
    """
    plan, base = variant.sizes[size], derived_seed(seed, "audit", "fresh") % 2**31
    personas = strangers(people, base, frozenset(taken), plan, data_seed, variant)
    looks = distinct_looks(people, np.random.default_rng([base, 1]))
    entries = []
    for number, (persona, look) in enumerate(zip(personas, looks, strict=True)):
        captions = list(all_captions(persona, variant.wordings))
        order = np.random.default_rng([base, 2, number]).permutation(len(captions))
        for place, chosen in enumerate(order[: plan.per_identity]):
            field, template, caption = captions[chosen]
            who = f"fresh-{number:04d}"
            facts = {"identity_id": who, "field": field, "value": persona[field], "template": template}
            facts |= {"name": persona["name"], "generic_caption": describe(look)}
            row = Row("fresh", f"{number:04d}_{place:03d}.jpg", caption, look, facts=facts)
            entries.append(_written(folder, row, plan.pixels, base))
    return entries


def draw_shapes(folder: Path, count: int, seed: int) -> list[Entry]:
    """Draw shapes with captions, which have nothing to do with people: unrelated pairs for data of any kind."""
    pairs, base = list(itertools.product(SHAPES, palette("object"))), derived_seed(seed, "audit", "shapes") % 2**31
    drawn = [pairs[number % len(pairs)] for number in range(count)]
    rows = [
        Row("shapes", f"{number:05d}.jpg", object_caption(colour, shape), None, shape, colour, {"identity_id": shape})
        for number, (shape, colour) in enumerate(drawn)
    ]
    return [_written(folder, row, SIZES["mini"].pixels, base) for row in rows]


def draw_photos(folder: Path, looks: Mapping[str, Look], per_person: int, size: str, seed: int) -> list[Entry]:
    """Draw new photographs of people who look like this, by identity."""
    base = derived_seed(seed, "audit", "photos") % 2**31
    return [
        _written(
            folder, Row("photos", f"{who}_{n:03d}.jpg", who, look, facts={"identity_id": who}), SIZES[size].pixels, base
        )
        for who, look in looks.items()
        for n in range(per_person)
    ]


def _written(folder: Path, row: Row, pixels: int, seed: int) -> Entry:
    """The row as an entry; its image is drawn unless it exists."""
    if not (folder / row.image).is_file():
        write_bytes(folder / row.image, image_bytes(row, pixels, seed))
    return Entry(row.image, (row.caption,), extra=row.facts)
