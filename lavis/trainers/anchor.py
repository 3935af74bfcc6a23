"""run.anchor: terms that hold the trained weights near the original's, with any method.

L2-SP (Li, Grandvalet and Davoine, arXiv 1802.01483, equation 3, without a part for new layers) and elastic weight
consolidation (Kirkpatrick et al., arXiv 1612.00796, equation 3):

    L     = L_method + w_1 · l2_sp + w_2 · ewc
    l2_sp = ½ Σ_i (θ_i − θ⁰_i)²
    ewc   = ½ Σ_i F_i (θ_i − θ⁰_i)²        F_i = E_b[(∂O(b) / ∂θ_i)²] at θ⁰

| symbol | here |
|---|---|
| θ, θ⁰ | weights in training; the same before the first step |
| w_1, w_2 | run.anchor.l2_sp, run.anchor.ewc |
| O | the backbone's own training objective, `model.objective` |
| b | batches of Dr, as large as the method's: the objective compares the rows of a batch, so that no row has its own |

The mean over batches counts each by its rows. A batch averages its rows' gradients, so that F falls as batches grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn

from lavis.trainers.saliency import Gradients, mean_gradient

Weights = Sequence[torch.Tensor]


def l2_sp(weights: Weights, originals: Weights) -> torch.Tensor:
    """½ Σ (θ − θ⁰)², scalar, over tensors of equal shapes."""
    away = [(one.float() - other).pow(2).sum() for one, other in zip(weights, originals, strict=True)]
    return torch.stack(away).sum() / 2


def ewc(weights: Weights, originals: Weights, fisher: Weights) -> torch.Tensor:
    """½ Σ F (θ − θ⁰)², scalar, over tensors of equal shapes."""
    parts = zip(weights, originals, fisher, strict=True)
    return torch.stack([((one.float() - other).pow(2) * matters).sum() for one, other, matters in parts]).sum() / 2


def fisher_information(batches: Iterable[tuple[int, Gradients]]) -> Gradients:
    """F by name: the mean of the batches' squared gradients. batches: numbers of rows, and gradients by name."""
    return mean_gradient((rows, {name: one.pow(2) for name, one in found.items()}) for rows, found in batches)


class Anchor:
    """The terms that are on, of the weights in training.

    Args:
        weights: run.anchor's, by term. parameters: what is trained, now at θ⁰. fisher: F by name, for ewc.
    """

    def __init__(self, weights: Mapping[str, float], parameters: Mapping[str, nn.Parameter], fisher: Gradients) -> None:
        self.weights, self.parameters = dict(weights), list(parameters.values())
        self.originals = [parameter.detach().float().clone() for parameter in self.parameters]
        self.fisher = [fisher[name] for name in parameters] if fisher else []

    def terms(self) -> dict[str, torch.Tensor]:
        """The unweighted terms at the weights as they are, scalars with gradient."""
        found = {"l2_sp": l2_sp(self.parameters, self.originals)} if "l2_sp" in self.weights else {}
        if "ewc" in self.weights:
            found["ewc"] = ewc(self.parameters, self.originals, self.fisher)
        return found

    def added(
        self, total: torch.Tensor, terms: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """A method's loss and terms with these: the loss weighted, the terms not."""
        own = self.terms()
        return total + torch.stack([self.weights[name] * term for name, term in own.items()]).sum(), {**terms, **own}
