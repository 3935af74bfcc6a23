"""Level values (ours, unpublished): a forgotten value is as likely as others, neither above nor below chance.

    L     = that of cpd_reset + level
    level = mean_i −1/(n+1) Σ_j log softmax_j(scale · I_i S(v_j))

| symbol | here |
|---|---|
| I_i | unit embedding of a forget image |
| v_0 | its own caption; v_1, …, v_n the same caption with values of invented people in the place of the true one |

`level` is least where all candidates are equally likely. It reads the image, while cpd compares captions alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lavis.common.registry import registry
from lavis.common.transfer import to_device
from lavis.settings.declaration import setting
from lavis.trainers import cpd_reset
from lavis.trainers.base import Batch, Student, TeacherFeatures
from lavis.trainers.cpd_reset import LocalisedReset


@dataclass(frozen=True)
class Params(cpd_reset.Params):
    """How many values compete with the true one."""

    values: int = setting(3, "captions with another value for each forget caption", least=1)


def level_loss(image: torch.Tensor, candidates: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Cross-entropy to the uniform distribution, scalar, of unit rows: image (B, D), candidates (B, n + 1, D)."""
    logits = scale * torch.einsum("bd,bnd->bn", image, candidates)
    return -logits.log_softmax(dim=1).mean()


@registry.register_trainer("cpd_level")
class LevelValues(LocalisedReset):
    """cpd_reset with a term on the distribution over candidate values."""

    params_class: type = Params
    sides = ("image",)
    all_terms = (*LocalisedReset.all_terms, "level")

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        level = self._level(batch) if self.weights["level"] else torch.zeros((), device=self.device)
        return {**super().terms(student, teacher, batch), "level": level}

    def _level(self, batch: Batch) -> torch.Tensor:
        captions, draws = batch.sets["df"]["captions"], self.draws(batch)
        usable = [row for row, caption in enumerate(captions) if caption in self.captions.counterfactual]
        if not usable:
            return torch.zeros((), device=self.device)
        count = self.params.values
        texts = [
            text for row in usable for text in (captions[row], *self.captions.other_values(draws, captions[row], count))
        ]
        rows = self.embed({"level": texts}, live=True)["level"].view(len(usable), count + 1, -1)
        image = self.images(batch, "df").index_select(
            0, to_device(torch.tensor(usable, dtype=torch.int64), self.device)
        )
        return level_loss(image, rows, self.scale.detach())
