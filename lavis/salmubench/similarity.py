"""The metrics that are means of cosines: AssocStr, CoreAssoc, InterIdSim, IntraIdSim, VisIdInt, FragSim.

Each takes image (n, D) and text (n, D) features paired row by row, of any length; and raises DataError on an empty
split, on embeddings that are not finite or zero, and on collapsed ones; ValueError on shapes that do not fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lavis.evaluation.inputs import paired_cosines, paired_rows


def assoc_str(image: Any, text: Any) -> float:
    """AssocStr: mean cosine of forget images with their captions, -1 … 1. Forgetting lowers it to clean's."""
    return float(paired_cosines(image, text, "AssocStr").mean())


def inter_id_sim(image: Any, text: Any) -> float:
    """InterIdSim: mean paired cosine on holdout_identity, people of whom nothing was to be forgotten."""
    return float(paired_cosines(image, text, "InterIdSim").mean())


def intra_id_sim(image: Any, text: Any) -> float:
    """IntraIdSim: mean paired cosine on holdout_association, further facts about people of the forget set."""
    return float(paired_cosines(image, text, "IntraIdSim").mean())


def vis_id_int(image: Any, text: Any) -> float:
    """VisIdInt: mean paired cosine on retain_joint, harmless pictures of people of the forget set."""
    return float(paired_cosines(image, text, "VisIdInt").mean())


def frag_sim(image: Any, text: Any) -> float:
    """FragSim: mean paired cosine on fragile_set, strangers whose pictures are most like forgotten ones."""
    return float(paired_cosines(image, text, "FragSim").mean())


def core_assoc(image: Any, name_value: Any, value_name: Any) -> float:
    """CoreAssoc: mean over forget of the greater cosine of the image with "{name} {value}" and "{value} {name}".

    image, name_value, value_name: (n, D) features of the image and of the two texts of its pair.
    """
    return float(core_cosines(image, name_value, value_name).mean())


def core_cosines(image: Any, name_value: Any, value_name: Any) -> np.ndarray:
    """The terms of `core_assoc`, (n,)."""
    images, forward = paired_rows(image, name_value, "CoreAssoc")
    _, backward = paired_rows(image, value_name, "CoreAssoc")
    return np.maximum((images * forward).sum(axis=1), (images * backward).sum(axis=1))
