"""People whom no model has seen, drawn like those of SALMU-mini: the control of an audit."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from lavis.common.files import write_bytes
from lavis.common.seed import derived_seed
from lavis.datasets.annotations import Entry
from lavis.synthetic.mini.captions import all_captions
from lavis.synthetic.mini.layout import image_bytes
from lavis.synthetic.mini.looks import describe, distinct_looks
from lavis.synthetic.mini.personas import make_personas
from lavis.synthetic.mini.plan import SIZES, Row


def draw_fresh(folder: Path, size: str, people: int, seed: int, taken: Collection[str]) -> list[Entry]:
    """Draw `people` new people with as many pictured captions as SALMU-mini's of this size have.

    folder: where their images are written (those that exist are not drawn again). taken: names that they must not have.
    """
    plan, base = SIZES[size], derived_seed(seed, "audit", "fresh") % 2**31
    personas = make_personas(people, base, frozenset(taken))
    looks = distinct_looks(people, np.random.default_rng([base, 1]))
    entries = []
    for number, (persona, look) in enumerate(zip(personas, looks, strict=True)):
        captions = list(all_captions(persona))
        order = np.random.default_rng([base, 2, number]).permutation(len(captions))
        for place, chosen in enumerate(order[: plan.per_identity]):
            field, template, caption = captions[chosen]
            who = f"fresh-{number:04d}"
            facts = {"identity_id": who, "field": field, "value": persona[field], "template": template}
            facts |= {"name": persona["name"], "generic_caption": describe(look)}
            row = Row("fresh", f"{number:04d}_{place:03d}.jpg", caption, look, facts=facts)
            if not (folder / row.image).is_file():
                write_bytes(folder / row.image, image_bytes(row, plan.pixels, base))
            entries.append(Entry(row.image, (caption,), extra=facts))
    return entries
