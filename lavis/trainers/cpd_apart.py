"""Apart in weight space (ours, unpublished): the weights leave the original's surroundings, the function is held.

    L     = that of cpd_reset + apart
    apart = mean_W relu(radius − ‖W − W₀‖ / ‖W₀‖)²
    before the first step:  W = (1 − noise) W₀ + noise · N(μ, σ²)

| symbol | here |
|---|---|
| W, W₀ | each matrix of the text tower but the token embedding, of the student and of the original |
| μ, σ | mean and standard deviation of W₀ |

That weights far from the original's resist relearning is the finding of arXiv 2505.22310; decay with noise is that of
arXiv 2604.09391. Here the function is held by cpd's own terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lavis.common.registry import registry
from lavis.common.seed import generator
from lavis.common.transfer import to_device
from lavis.models.base import BaseModel
from lavis.settings.declaration import setting
from lavis.settings.schema import RunConfig
from lavis.trainers import cpd_reset
from lavis.trainers.base import Batch, Student, TeacherFeatures
from lavis.trainers.cpd_reset import LocalisedReset


@dataclass(frozen=True)
class Params(cpd_reset.Params):
    """How far, and how much noise."""

    radius: float = setting(0.5, "distance from the original that suffices, as a share of its norm", above=0, most=10)
    noise: float = setting(0.0, "share of noise in the weights before the first step", least=0, most=1)


def apart_loss(weights: Sequence[torch.Tensor], originals: Sequence[torch.Tensor], radius: float) -> torch.Tensor:
    """mean_W relu(radius − ‖W − W₀‖ / ‖W₀‖)², scalar."""
    away = [(one - other).norm() / other.norm() for one, other in zip(weights, originals, strict=True)]
    return torch.relu(radius - torch.stack(away)).pow(2).mean()


@registry.register_trainer("cpd_apart")
class Apart(LocalisedReset):
    """cpd_reset with a term that pushes the text tower's matrices away from the original's."""

    params_class: type = Params
    all_terms = (*LocalisedReset.all_terms, "apart")

    def __init__(self, method: str, model: BaseModel, run: RunConfig, device: torch.device) -> None:
        super().__init__(method, model, run, device)
        tables = {id(p) for p in model.text_parameters(tokens_only=True)}
        text = {id(p) for p in model.text_parameters()} - tables
        self.matrices = [name for name, p in model.named_parameters() if id(p) in text and p.ndim >= 2]
        share = self.params.noise
        for name in self.matrices if share else ():
            weight = model.get_parameter(name).data
            draws = torch.randn(weight.shape, generator=generator(run.draw_seed, "apart", name))
            noise = weight.mean() + weight.std() * to_device(draws, device)
            weight.lerp_(noise, share)

    @classmethod
    def rewrites(cls, run: RunConfig) -> str:
        noise = "noise in the text tower, unless method_args.noise is 0" if cls.params_of(run).noise else ""
        return super().rewrites(run) or noise

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        own, others = (dict(model.named_parameters()) for model in (self.model, self.frozen))
        names = [name for name in self.matrices if name in own]  # run.lora renames, and holds, those it adapts
        pairs = [own[name] for name in names], [others[name] for name in names]
        apart = apart_loss(*pairs, self.params.radius) if names else torch.zeros((), device=self.device)
        return {**super().terms(student, teacher, batch), "apart": apart}
