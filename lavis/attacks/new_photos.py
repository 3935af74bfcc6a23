"""Photographs of the same people that no model saw: forgetting must hold for the person, not for the file.

    X with i' = another photograph of the person on i

SALMU-mini draws them; for other data the attack is not possible.
"""

from __future__ import annotations

import numpy as np
import torch

from lavis.audits.attack import NOT_QUICK, Attack, NotPossible, Readings, Settings, reading
from lavis.audits.material import Sample
from lavis.audits.subject import Subject, Timing
from lavis.common.registry import registry


@registry.register_attack("new_photos")
class NewPhotos(Attack):
    """Every pair is tested with one other photograph, and with the mean embedding of several."""

    about = "other photographs of the same people, one or the mean of several"
    reference = "Hintersdorf et al., arXiv 2209.07341"
    needs = ("questions", "other photographs of the people")
    why_not = "the image differs, and the text still goes through the map"
    order = 45
    budgets = NOT_QUICK

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        return timing.exam(subject.material) + timing.image * len(subject.material.asked)

    def run(self, subject: Subject, settings: Settings) -> Readings:
        asked, photos = subject.material.asked, subject.material.photos
        if photos is None:
            raise NotPossible("there is no other photograph of anybody in Df")
        images, own = subject.images(photos), rows_of(photos)
        rows = np.array([row for row, who in enumerate(asked.people) if who in own])
        one, mean = subject.images(asked).clone(), subject.images(asked).clone()
        for row in rows.tolist():
            mine = own[asked.people[row]]
            one[row] = images[mine[row % len(mine)]]
            mean[row] = torch.nn.functional.normalize(images[mine].mean(dim=0), dim=0)
        found = {"one photo": one, "mean of photos": mean}
        return {
            name: reading(asked, subject.recall(asked, lambda _, rows=image: rows), rows)
            for name, image in found.items()
        }


def rows_of(sample: Sample) -> dict[str, list[int]]:
    """The rows of each person."""
    rows: dict[str, list[int]] = {}
    for row, who in enumerate(sample.people):
        rows.setdefault(who, []).append(row)
    return rows
