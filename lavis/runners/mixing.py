"""run.interpolate: the result lies on the line from the original weights to the unlearned ones.

Wortsman et al., arXiv 2109.01903: θ = (1 - α)·θ_original + α·θ_unlearned. With α by rule, the least share is taken at
which a forgotten image is no nearer to its own caption than to the others'. The rule reads the forget set alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from lavis.embedding.embed import SplitFeatures
from lavis.models.base import BaseModel

State = dict[str, torch.Tensor]
BY_RULE = -1
SHARES = tuple(tenth / 10 for tenth in range(1, 10))


def mixed(original: State, unlearned: State, share: float) -> State:
    """Both states as one; integers (counters, positions) are the unlearned model's."""
    return {
        name: torch.lerp(original[name].to(end), end, share) if end.is_floating_point() else end
        for name, end in unlearned.items()
    }


def has_forgotten(features: SplitFeatures) -> bool:
    """Whether the mean cosine of images with their own captions is at most that with all other captions."""
    own = (features.image[features.txt2img] * features.text).sum(dim=1)
    images, texts = len(features.image), len(features.text)
    everything = features.image.sum(dim=0) @ features.text.sum(dim=0)
    others = (everything - own.sum()) / max(1, images * texts - texts)
    return bool(own.mean() <= others)


def least_share(
    model: BaseModel, original: State, unlearned: State, embed: Callable[[BaseModel], SplitFeatures]
) -> float:
    """The least of SHARES at which `embed` shows that the forget set is forgotten; 1 where none does."""
    for share in SHARES:
        model.load_state(mixed(original, unlearned, share), f"share {share}")
        if has_forgotten(embed(model)):
            return share
    return 1.0
