"""IDIA: several photographs and prompts vote for a name among many.

    vote(i, p) = argmax over names n of cos(i, p(n));  value = share of a person's votes for the true name

Chance is one in the number of names. Photographs that no model saw where there are any, else Df's own.
"""

from __future__ import annotations

import numpy as np
import torch

from lavis.attacks.new_photos import rows_of
from lavis.audits.attack import NOT_QUICK, Attack, NotPossible, Reading, Readings, Settings
from lavis.audits.material import Sample
from lavis.audits.subject import Subject, Timing
from lavis.common.registry import registry

PROMPTS = ("{}", "a picture of {}", "a portrait of {}", "an image of {}")


@registry.register_attack("voting")
class Voting(Attack):
    """The names are those of Df, of the control and of all whom the data's metadata names."""

    about = "several photographs and prompts vote for a name"
    reference = "Hintersdorf et al., arXiv 2209.07341 (IDIA)"
    needs = ("questions", "photographs of the people", "their names among others")
    baseline = "attacked"
    quantity = "share of votes for the true name"
    why_not = "the votes differ, and every text still goes through the map"
    order = 46
    budgets = NOT_QUICK

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        return len(PROMPTS) * timing.caption * len(subject.material.names) + timing.image * len(subject.material.asked)

    def run(self, subject: Subject, settings: Settings) -> Readings:
        material, names = subject.material, sorted(set(subject.material.names.values()))
        if len(names) < 2:
            raise NotPossible("no names are known")
        texts = torch.stack([subject.texts([prompt.format(name) for name in names]) for prompt in PROMPTS])
        numbers = {name: number for number, name in enumerate(names)}
        own = _votes(subject, material.photos or material.asked, material.asked, texts, numbers)
        found, control = Reading(*own), material.control
        if control is not None:
            found = Reading(*own, *_votes(subject, control, control, texts, numbers))
        return {f"{len(PROMPTS)} prompts": found}


def _votes(
    subject: Subject, photos: Sample, people: Sample, texts: torch.Tensor, numbers: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Votes for the true name, and votes, by person of `people`; texts (P, N, D) of P prompts and N names."""
    images, own, names = subject.images(photos), rows_of(photos), subject.material.names
    right, cast = np.zeros(len(people.everyone)), np.zeros(len(people.everyone))
    for place, who in enumerate(people.everyone):
        if who in names and who in own:
            votes = torch.einsum("bd,pnd->bpn", images[own[who]], texts).argmax(dim=-1)
            right[place], cast[place] = float((votes == numbers[names[who]]).sum()), votes.numel()
    return right, cast
