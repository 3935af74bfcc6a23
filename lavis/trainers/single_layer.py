"""run.select.rule=slug: the one layer that matters much to Df and little to Dr is trained, with any method.

Cai, Tan and Asif, "Targeted Unlearning with Single Layer Unlearning Gradient", ICML 2025, arXiv 2407.11867, section 3:

    importance_l = ‖∇_l L_f‖ / ‖θ_l‖        alignment_l = |cos(∇_l L_f, ∇_l L_r)|
    front = {l : no other layer has more importance and less alignment}
    chosen = argmax over the front of importance_l · (1 − alignment_l)

| symbol | here |
|---|---|
| l | a matrix (two dimensions or more) among the weights that would be trained, but no embedding |
| L_f, L_r | the backbone's training objective on Df (whose sign changes nothing here) and on Dr |

The paper tries the layers of the front in turn, with a step of searched length each; the last line replaces that search
(ours). Layers without a gradient on Df are left out, and embeddings of tokens and positions, as in the published code:
their small norms make them important. The method's own terms then train the layer; the paper's single step is not part
of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

Tensors = Mapping[str, torch.Tensor]


class Score(NamedTuple):
    """A layer's importance to Df, and how much its gradients on Df and Dr point along one line (0 to 1)."""

    importance: float
    alignment: float


def layer_scores(weights: Tensors, forget: Tensors, retain: Tensors) -> dict[str, Score]:
    """The scores of the layers; forget, retain: gradients by name. Layers without weight or gradient are left out."""
    found = {}
    for name, weight in weights.items():
        one, other, own = (part.detach().double().flatten() for part in (forget[name], retain[name], weight))
        norm, size = one.norm(), own.norm()
        if weight.ndim >= 2 and norm > 0 and size > 0:
            along = (one @ other).abs() / (norm * other.norm()).clamp(min=1e-300)
            found[name] = Score(float(norm / size), min(float(along), 1.0))
    return found


def pareto_front(scores: Mapping[str, Score]) -> dict[str, Score]:
    """The layers that no other beats in one number without losing in the other, the most important first."""
    front = {
        name: own
        for name, own in scores.items()
        if not any(_beats(other, own) for other in scores.values() if other != own)
    }
    return dict(sorted(front.items(), key=lambda item: -item[1].importance))


def _beats(one: Score, other: Score) -> bool:
    return one.importance >= other.importance and one.alignment <= other.alignment


def chosen_layer(front: Mapping[str, Score]) -> str:
    """The layer with the largest importance · (1 − alignment); of equal ones the first."""
    return max(front, key=lambda name: front[name].importance * (1 - front[name].alignment))
