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
from itertools import chain

import torch

from lavis.common.registry import registry
from lavis.common.transfer import to_device
from lavis.settings.declaration import setting
from lavis.trainers import cpd_reset
from lavis.trainers.base import Batch
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

    def groups(self, batch: Batch) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        shown, target = super().groups(batch)
        captions, draws, count = batch.sets["df"]["captions"], self.draws(batch), self.params.values
        usable = [captions[row] for row in self._usable(batch)] if self.weights["level"] else []
        candidates = [(one, *self.captions.other_values(draws, one, count)) for one in usable]
        return {**shown, "level": list(chain.from_iterable(candidates))}, target

    def compared(
        self, batch: Batch, student: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        rows = student["level"]
        level = self._level(batch, rows) if len(rows) else torch.zeros((), device=self.device)
        return {**super().compared(batch, student, teacher), "level": level}

    def _level(self, batch: Batch, rows: torch.Tensor) -> torch.Tensor:
        usable = to_device(torch.tensor(self._usable(batch), dtype=torch.int64), self.device)
        image = self.images(batch, "df").index_select(0, usable)
        return level_loss(image, rows.view(len(usable), self.params.values + 1, -1), self.scale.detach())

    def _usable(self, batch: Batch) -> list[int]:
        """The rows of the forget batch whose captions can be changed."""
        captions = batch.sets["df"]["captions"]
        return [row for row, caption in enumerate(captions) if caption in self.captions.counterfactual]
