"""run.select.rule=salun: only the weights that matter most to Df change, with any method.

Fan et al., "SalUn", ICLR 2024, arXiv 2310.12508, equations 3 and 4:

    m = 1(|g| ≥ γ)        g = ∇_θ L_f at θ⁰        θ = m ⊙ (θ⁰ + Δθ) + (1 − m) ⊙ θ⁰

| symbol | here |
|---|---|
| θ⁰ | the weights that would be trained, before the first step |
| L_f | minus the backbone's training objective on Df (its sign changes no mask), the mean over batches by their rows |
| γ | the value that run.select.share of the |g| above 0 reach: with 0.5, as published, the median |
| m | True where a weight is trained |

Weights without any gradient, such as the embeddings of tokens that Df lacks, count neither for γ nor as chosen. The
published rule has no such case; where half of all weights are like that, its γ would be 0 and every weight trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import nn

Gradients = dict[str, torch.Tensor]


def mean_gradient(batches: Iterable[tuple[int, Gradients]]) -> Gradients:
    """g by name: the mean of the batches' gradients by their rows. batches: numbers of rows, gradients by name."""
    total, rows = dict[str, torch.Tensor](), 0
    for count, gradients in batches:
        rows += count
        for name, gradient in gradients.items():
            total[name] = total[name] + count * gradient if name in total else count * gradient
    return {name: value / rows for name, value in total.items()}


def threshold(gradients: Mapping[str, torch.Tensor], share: float) -> torch.Tensor:
    """γ, scalar: the smallest of the largest ⌈share · n⌉ of the n values |g| above 0; infinite if there are none."""
    every = torch.cat([gradient.detach().abs().flatten() for gradient in gradients.values()])
    found = every[every > 0]
    if not len(found):
        return every.new_tensor(torch.inf)
    return found.kthvalue(len(found) - math.ceil(share * len(found)) + 1).values


def salient(gradients: Mapping[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """m by name, bool, of the gradients' shapes."""
    least = threshold(gradients, share)
    return {name: gradient.abs() >= least for name, gradient in gradients.items()}


class Held:
    """Weights outside the masks: they get no gradient, and after each step they are the original's, bit by bit.

    AdamW would move them otherwise, if only by weight decay.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], masks: Mapping[str, torch.Tensor]) -> None:
        self.parts = [(parameter, masks[name], parameter.detach().clone()) for name, parameter in parameters.items()]

    def mask_gradients(self) -> None:
        """Before the norm of the gradient is taken."""
        for parameter, mask, _ in self.parts:
            if parameter.grad is not None:
                parameter.grad.mul_(mask)

    @torch.no_grad()
    def restore(self) -> None:
        """After the optimiser's step."""
        for parameter, mask, original in self.parts:
            parameter.copy_(torch.where(mask, parameter, original))
