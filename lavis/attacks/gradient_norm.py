"""The gradient's norm: pairs that were trained on lie where the loss is flat.

    score(x) = −‖∇_θ ℓ(x; θ)‖,  ℓ: the contrastive loss of the pair among fixed captions and images of other people

White-box: the attacker has the weights. The fixed rows carry no gradient.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from lavis.audits.attack import Readings, Settings
from lavis.audits.material import Sample
from lavis.audits.membership import Membership, control_of
from lavis.audits.subject import Subject, Timing
from lavis.common.registry import registry
from lavis.common.seed import derived_seed

RIVALS, FIXED_COST = 64, 3  # other people's pairs; a step on one pair costs as much as on so many in a batch


@registry.register_attack("gradient_norm")
class GradientNorm(Membership):
    """Of at most `pairs` pairs of Df and as many of the control, drawn with the audit's seed."""

    about = "norm of the loss's gradient for each pair"
    reference = "Nasr et al., arXiv 1812.00910"
    needs = ("weights", "gradients")
    undoes_maps = True
    order = 52
    budgets = {"standard": {"pairs": 100}, "full": {"pairs": 400}}

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        return 2 * settings["pairs"] * FIXED_COST * timing.step

    def run(self, subject: Subject, settings: Settings) -> Readings:
        material, control = subject.material, control_of(subject)
        rows, others = (_drawn(one, settings["pairs"], material.seed) for one in (material.asked, control))
        member, other = _scores(subject, material.asked, rows), _scores(subject, control, others)
        return {"all weights": self.read(subject, member, other, rows)}


def _drawn(sample: Sample, most: int, seed: int) -> np.ndarray:
    order = np.random.default_rng(derived_seed(seed, "audit gradient", len(sample))).permutation(len(sample))
    return np.sort(order[:most])


def _scores(subject: Subject, sample: Sample, rows: np.ndarray) -> np.ndarray:
    """−‖∇ℓ‖ of each of these pairs, (n,)."""
    model, others = subject.copy(), subject.material.others
    model.requires_grad_(True)
    images = subject.images(others)[:RIVALS].to(subject.device)
    texts = subject.texts(others.captions[:RIVALS]).to(subject.device)
    found = []
    for row in rows.tolist():
        pixels = sample.dataset.images([int(sample.image_rows[row])]).to(subject.device)
        image = F.normalize(model.encode_image(pixels).float(), dim=-1)
        text = F.normalize(model.encode_text(model.tokenize([sample.captions[row]]).to(subject.device)).float(), dim=-1)
        model.zero_grad(set_to_none=True)
        target = torch.zeros(1, dtype=torch.long, device=subject.device)  # the pair itself has place 0
        forth = model.scale * image @ torch.cat([text, texts]).T
        back = model.scale * text @ torch.cat([image, images]).T
        (F.cross_entropy(forth, target) + F.cross_entropy(back, target)).backward()
        squares = [p.grad.square().sum() for p in model.parameters() if p.grad is not None]
        found.append(-float(torch.stack(squares).sum().sqrt()))
    return np.array(found)
