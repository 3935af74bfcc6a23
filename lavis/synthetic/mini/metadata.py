"""Metadata files of a SALMU-mini: SALMU's own four, and three that only a generated data set can have."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lavis.synthetic.mini import captions, objects
from lavis.synthetic.mini.pen import palette
from lavis.synthetic.mini.plan import SENSITIVE, Plan, similar_faces


def metadata_files(plan: Plan) -> dict[str, Any]:
    """JSON content by file name in metadata/."""
    sensitive = [row for row in plan.rows if row.split in SENSITIVE]
    wordings = plan.variant.wordings
    unseen = {key: [text for *_, text in captions.all_captions(who, wordings)] for key, who in plan.unseen.items()}
    return {
        "identities_metadata.json": {**plan.identities, **plan.proxies},
        "sensitive_set_captions_metadata.json": {row.file: _caption_facts(row) for row in sensitive},
        "sensitive_set_generic_captions.json": {row.file: row.facts["generic_caption"] for row in sensitive},
        "fragile_set_ids.json": similar_faces(plan),
        "zero_shot_classes.json": zero_shot(plan),
        "unseen_personas.json": {"identities": plan.unseen, "captions": unseen},  # distractors for ranking
        "looks.json": {row.file: asdict(row.look) for row in plan.rows if row.look},
    }


def _caption_facts(row) -> dict[str, Any]:
    facts = {key: row.facts[key] for key in ("identity_id", "value", "template")}
    return {"data_field": row.facts["field"], "caption": row.caption, "split": row.split, **facts}


def zero_shot(plan: Plan) -> dict[str, Any]:
    """Classes with their prompts, and the classes of every object image of the test split.

    A shape's prompts name it in every colour ("a photo of a red circle", "a photo of a blue circle", ...), a colour's
    name every shape in it: these are the captions that objects are trained with.
    """
    images = {row.image: {"shape": row.shape, "colour": row.colour} for row in plan.split("test") if row.shape}
    shapes, colours = objects.SHAPES, tuple(palette("object"))
    prompts = {
        "shape": {shape: [objects.object_caption(colour, shape) for colour in colours] for shape in shapes},
        "colour": {colour: [objects.object_caption(colour, shape) for shape in shapes] for colour in colours},
    }
    classes = {"shape": list(shapes), "colour": list(colours)}
    return {"split": "test", "classes": classes, "prompts": prompts, "images": images}
