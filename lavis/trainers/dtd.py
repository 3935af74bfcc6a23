"""Descent-to-Delete: Gaussian noise on every trainable weight, once; nothing is trained.

Neel, Roth and Sharifi-Malvajerdi, "Descent-to-Delete: Gradient-Based Methods for Machine Unlearning", ALT 2021,
arXiv 2007.02923: the publishing step, its constants taken from weight decay as if the loss were convex:

    θ' = θ + N(0, σ² 1)
    σ  = 4√2·L·γ^i / (strong·n·(1 - γ^i)·(√(ln(1/δ) + ε) - √(ln(1/δ))))
    γ  = (smooth - strong) / (smooth + strong)

| symbol | here |
|---|---|
| θ, θ' | weights of the original and of the published model (the temperature stays as it is) |
| L, smooth, strong | 1 + wd, 4 - wd, wd, with wd = run.weight_decay |
| i, n, ε | Params.iterations, Params.n, Params.epsilon |
| δ | Params.delta, or 1/n² |

CLIP's loss is not convex, so the paper's guarantee does not apply. With a small n the noise destroys the model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.common.seed import generator
from lavis.models.base import BaseModel
from lavis.settings.declaration import setting
from lavis.settings.schema import RunConfig
from lavis.trainers.base import BaseTrainer


@dataclass(frozen=True)
class Params:
    """The guarantee and the training it is about."""

    n: int = setting(400_000_000, "size of the training set", least=2, most=10**12)
    epsilon: float = setting(5.0, "ε of the guarantee", above=0, most=1e6)
    delta: float | None = setting(None, "δ of the guarantee; null: 1/n²", above=0, below=1)
    iterations: int = setting(1, "descent steps", least=1)


def noise_scale(weight_decay: float, n: int, epsilon: float, delta: float | None = None, iterations: int = 1) -> float:
    """σ, the standard deviation of the noise. Raises ConfigError outside the formula's domain."""
    delta = 1 / n**2 if delta is None and n > 1 else delta
    if not 0 < weight_decay < 2:
        raise ConfigError(f"dtd: run.weight_decay is {weight_decay}; the formula needs a value between 0 and 2")
    if n < 2 or epsilon <= 0 or iterations < 1 or delta is None or not 0 < delta < 1:
        raise ConfigError(
            f"dtd: run.method_args has n={n}, epsilon={epsilon}, delta={delta}, iterations={iterations}; n must be at "
            "least 2, epsilon above 0, delta between 0 and 1, iterations at least 1"
        )
    smooth, strong, lipschitz = 4 - weight_decay, weight_decay, 1 + weight_decay
    shrunk = ((smooth - strong) / (smooth + strong)) ** iterations
    privacy = math.sqrt(math.log(1 / delta) + epsilon) - math.sqrt(math.log(1 / delta))
    return 4 * math.sqrt(2) * lipschitz * shrunk / (strong * n * (1 - shrunk) * privacy)


@registry.register_trainer("dtd")
class DescentToDelete(BaseTrainer):
    """The publishing step of Descent-to-Delete. The noise depends on the run's seed and the parameter's name alone."""

    params_class = Params
    all_terms = ()
    sets = ("df",)
    needs_teacher = False
    runner = "once"

    @classmethod
    def check(cls, method: str, run: RunConfig, model: type[BaseModel] | None = None) -> None:
        super().check(method, run, model)
        cls.sigma(run)

    @classmethod
    def sigma(cls, run: RunConfig) -> float:
        """σ for a run's settings. Raises ConfigError outside the formula's domain."""
        return noise_scale(run.weight_decay, **vars(cls.params_of(run)))

    @torch.no_grad()
    def once(self) -> dict[str, torch.Tensor]:
        sigma = self.sigma(self.run)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                draws = torch.randn(parameter.shape, generator=generator(self.run.draw_seed, "dtd", name))
                parameter.add_(sigma * draws.to(parameter))
        return {"sigma": torch.tensor(sigma, dtype=torch.float64)}
