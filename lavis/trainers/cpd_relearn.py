"""Relearning inside the loop (ours, unpublished; first order): what a few steps of relearning bring back is taken away.

    L       = that of cpd_reset + revived
    revived = sq(S_θ⁺(t_b), T(cf t_b))
    θ⁺      = θ − rate · Σ_k g_k / ‖g_k‖,   g_k = ∇ C(I_a, S_θ⁺(t_a)),   k = 1 … simulated

| symbol | here |
|---|---|
| a, b | the two halves of the forget batch: one is learnt again, the other is tested |
| C | the contrastive loss; θ the text tower |
| g_k | treated as a constant (first order, as in Finn et al., arXiv 1703.03400) |

Related: tamper-resistant training, Tamirisa et al., arXiv 2408.00761.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from lavis.common.features import PairFeatures
from lavis.common.registry import registry
from lavis.common.transfer import to_device
from lavis.losses.sigmoid import pair_loss
from lavis.models.base import BaseModel
from lavis.settings.declaration import setting
from lavis.trainers import cpd_reset
from lavis.trainers.base import Batch, Student, TeacherFeatures
from lavis.trainers.cpd_reset import LocalisedReset
from lavis.trainers.persona import squared_distance


@dataclass(frozen=True)
class Params(cpd_reset.Params):
    """The simulated relearning."""

    simulated: int = setting(1, "simulated steps in each step", least=1, most=16)
    rate: float = setting(
        0.3, "length of a simulated step, in the norm of all weights of the text tower", above=0, most=1000
    )


class Texts(nn.Module):
    """A model's text tower as a module's forward pass."""

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.model.encode_text(tokens).float(), dim=-1)


@registry.register_trainer("cpd_relearn")
class RelearningInside(LocalisedReset):
    """cpd_reset that also holds the forget captions where simulated relearning would take them."""

    params_class: type = Params
    sides = ("image",)
    all_terms = (*LocalisedReset.all_terms, "revived")

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        return {**super().terms(student, teacher, batch), "revived": self._revived(batch)}

    def _revived(self, batch: Batch) -> torch.Tensor:
        captions, images = batch.sets["df"]["captions"], self.images(batch, "df")
        half = len(captions) // 2
        texts, moved = Texts(self.model), dict[str, torch.Tensor]()
        named = {f"model.{name}": p for name, p in self.model.named_parameters() if p.requires_grad}
        taught = to_device(self.model.tokenize(captions[:half]), self.device)
        for _ in range(self.params.simulated if half > 1 else 0):
            weights = {**named, **moved}
            with torch.enable_grad(), self.computing():
                pairs = PairFeatures(images[:half], functional_call(texts, weights, (taught,)))
            loss = pair_loss(pairs, self.scale.detach(), self.bias)
            grads = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            moved = self._step(weights, {name: g for name, g in zip(weights, grads, strict=True) if g is not None})
        asked = [caption for caption in captions[half:] if caption in self.captions.counterfactual]
        if not asked:
            return images.sum() * 0
        tokens = to_device(self.model.tokenize(asked), self.device)
        with self.computing():
            rows = functional_call(texts, {**named, **moved}, (tokens,))
        target = self.embed({"b": [self.captions.counterfactual[one] for one in asked]}, live=False)["b"]
        return squared_distance(rows, target)

    def _step(self, weights: dict[str, torch.Tensor], grads: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The weights with a gradient after a step of length `rate`, with the gradient of the weights before it."""
        norm = torch.stack([grad.norm() for grad in grads.values()]).norm() + 1e-12
        return {name: weights[name] - (self.params.rate * grad / norm).detach() for name, grad in grads.items()}
