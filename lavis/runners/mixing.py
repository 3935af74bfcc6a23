"""run.interpolate: the result lies on the line from the original weights to the unlearned ones.

Wortsman et al., arXiv 2109.01903: θ = (1 - α)·θ_original + α·θ_unlearned. With α by rule, the least share is taken at
which a forgotten image is no nearer to its own caption than to the others'. The rule reads the forget set alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from lavis.common import distributed
from lavis.common.checkpoint import BEST, FINAL, load_checkpoint, save_checkpoint
from lavis.common.logger import get_logger
from lavis.datasets.builder import PairBuilder
from lavis.embedding.embed import SplitFeatures, embed_entries
from lavis.models.base import BaseModel
from lavis.runners.fsdp import put
from lavis.settings.schema import RunConfig

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


def interpolate(model: BaseModel, start: str, folder: Path, builder: PairBuilder, run: RunConfig) -> float:
    """Mix the run's best weights with those of `start` as run.interpolate says, and save them as the run's result.

    The numbered checkpoints stay as they are: a run that continues trains on from them. A result that is mixed already
    stays as it is. All processes call it. Returns the share of the run's weights. Raises CheckpointError.
    """
    share = run.interpolate
    assert share is not None
    content = load_checkpoint(folder / BEST)
    distributed.barrier()  # rank 0 replaces the file below, when every process has read it
    if "interpolation" in content:
        return content["interpolation"]
    model.load_weights(start)
    original = {name: value.detach().cpu().clone() for name, value in model.checkpoint_state().items()}
    if share == BY_RULE:
        share = least_share(model, original, content["model"], lambda mixture: forget_features(mixture, builder, run))
    state = mixed(original, content["model"], share)
    _put(model, state)
    if distributed.is_main():
        kept = {key: content[key] for key in (*FINAL, "position", "finished") if key in content}
        save_checkpoint(folder / BEST, {**kept, "model": state, "state_dict": state, "interpolation": share})
    distributed.barrier()
    get_logger().info("Interpolated: %.2f of the unlearned weights, %.2f of the original's", share, 1 - share)
    return share


def least_share(
    model: BaseModel, original: State, unlearned: State, embed: Callable[[BaseModel], SplitFeatures]
) -> float:
    """The least of SHARES at which `embed` shows that the forget set is forgotten; 1 where none does."""
    for share in SHARES:
        _put(model, mixed(original, unlearned, share))
        if has_forgotten(embed(model)):
            return share
    return 1.0


def _put(model: BaseModel, state: State) -> None:
    for name, tensor in model.checkpoint_state().items():
        put(tensor, state[name])


def forget_features(model: BaseModel, builder: PairBuilder, run: RunConfig) -> SplitFeatures:
    """The forget set's embeddings, as an evaluation takes them."""
    dataset, device = builder.dataset(builder.partition().df, "eval"), next(model.parameters()).device
    size, workers = run.batch_size_eval, run.num_workers
    return embed_entries(model.eval(), dataset, size, device, num_workers=workers, name="interpolation")
