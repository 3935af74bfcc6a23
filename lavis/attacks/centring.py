"""Nearest neighbours after centring: a gap between image and text space hides nothing once both means are removed.

i' = i − mean(I),  t' = t − mean(T);  X with cos(i', t')
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from lavis.audits.attack import ALWAYS, Attack, Readings, Settings
from lavis.audits.material import Sample
from lavis.audits.subject import Subject
from lavis.common.registry import registry


@registry.register_attack("centring")
class Centring(Attack):
    """The means are those of other people's pairs."""

    about = "nearest neighbours after the means of images and texts are removed"
    reference = "Liang et al., arXiv 2203.02053 (the modality gap)"
    needs = ("embeddings", "other people's pairs")
    why_not = "removing the means undoes a shift, and a map is no shift"
    order = 32
    budgets = ALWAYS

    def run(self, subject: Subject, settings: Settings) -> Readings:
        others = subject.material.retained_and_others
        image, text = subject.images(others).mean(dim=0), subject.texts(others.captions).mean(dim=0)

        def without(rows: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
            return F.normalize(rows - mean, dim=-1)

        def images(sample: Sample) -> torch.Tensor:
            return without(subject.images(sample), image)

        def texts(captions: Sequence[str]) -> torch.Tensor:
            return without(subject.texts(captions), text)

        return {"means removed": self.ask(subject, images, texts)}
