"""Momentum copies of a model's parts, and the queue of their features (ALBEF, arXiv 2107.07651, section 3.2)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from lavis.common.distributed import gather_rows
from lavis.losses.itc import distillation_weight
from lavis.models.base import TrainingStep
from lavis.models.fused.base import FusedModel
from lavis.models.fused.config import MomentumConfig
from lavis.models.fused.text import TextEncoder

UNWRITTEN = -100  # the id of a place of the queue that no row has been written to


def frozen_copy(module: nn.Module) -> nn.Module:
    """A copy with the same values (and ties among them) that no optimiser changes."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def follow(pairs: Iterable[tuple[nn.Module, nn.Module]], decay: float) -> None:
    """m ← decay·m + (1−decay)·p for each parameter of each (online, momentum copy) pair; tied ones are updated once."""
    for online, slow in pairs:
        values = [p.detach() for p in online.parameters()]
        averages = [p.detach() for p in slow.parameters()]
        torch._foreach_mul_(averages, decay)
        torch._foreach_add_(averages, values, alpha=1 - decay)


class MomentumModel(FusedModel):
    """A fused encoder with momentum copies `<name>_m` of some of its parts."""

    config: MomentumConfig
    ramp_epochs: ClassVar[int] = 1
    visual_encoder_m: nn.Module
    text_encoder_m: TextEncoder
    _followed: tuple[str, ...] = ()
    _step: tuple[int, int] | None = None

    def add_momentum(self, *names: str) -> None:
        """Add copies of the named parts, equal to them at first."""
        self._followed = names
        for name in names:
            setattr(self, f"{name}_m", frozen_copy(getattr(self, name)))

    def load_pretraining(self, source: str | Path) -> None:
        """Like every fused model; the momentum copies then start equal to their parts."""
        super().load_pretraining(source)
        self.add_momentum(*self._followed)

    def from_pretraining(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The momentum copies keep their current values here, because `load_pretraining` recreates them."""
        parts = [f"{name}_m" for name in self._followed]
        copies = {name: value for name, value in self.state_dict().items() if name.split(".")[0] in parts}
        return {**super().from_pretraining(state), **copies}

    @torch.no_grad()
    def begin_step(self, progress: TrainingStep) -> bool:
        """Update the copies, once per optimiser step (its micro-batches share them); returns whether it did."""
        step = (progress.epoch, progress.step)
        if step == self._step:
            return False
        self._step = step
        pairs = ((getattr(self, name), getattr(self, f"{name}_m")) for name in self._followed)
        follow(pairs, self.config_as(MomentumConfig).momentum)
        return True

    def soft_share(self, progress: TrainingStep) -> float:
        """Weight of the momentum targets at this step, which grows over `ramp_epochs`; 0 without distillation."""
        config = self.config_as(MomentumConfig)
        alpha = config.alpha if config.use_distill else 0.0
        return distillation_weight(alpha, progress.epoch, progress.step, progress.steps_per_epoch, self.ramp_epochs)


class FeatureQueue:
    """The ring buffers `image_queue`, `text_queue` (D, K), `idx_queue` (1, K) and `queue_ptr` (1,) of a model.

    The buffers belong to the model, under the public names. Features added during one optimiser step are written when
    the next begins (or the state is saved), so that all micro-batches of a step, in one process or several, see the
    same queue. Any batch size works, because writing wraps around.
    """

    NAMES = ("image_queue", "text_queue", "idx_queue", "queue_ptr")

    def __init__(self, owner: nn.Module, dim: int, size: int) -> None:
        self.owner, self.size = owner, size
        for name in ("image_queue", "text_queue"):
            owner.register_buffer(name, F.normalize(torch.randn(dim, size), dim=0))
        owner.register_buffer("idx_queue", torch.full((1, size), UNWRITTEN))
        owner.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))
        self._waiting: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    @property
    def images(self) -> torch.Tensor:
        return self.owner.get_buffer("image_queue")

    @property
    def texts(self) -> torch.Tensor:
        return self.owner.get_buffer("text_queue")

    @property
    def ids(self) -> torch.Tensor:
        """(K,); UNWRITTEN (−100) in places without a row."""
        return self.owner.get_buffer("idx_queue")[0]

    @classmethod
    def emptied(cls, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A model's weights with zeros in all places of the queue, none of them written; no score depends on them."""
        if "idx_queue" not in weights:
            return dict(weights)
        empty = {name: torch.zeros_like(weights[name]) for name in cls.NAMES}
        return {**weights, **empty, "idx_queue": torch.full_like(weights["idx_queue"], UNWRITTEN)}

    @torch.no_grad()
    def put(self, images: torch.Tensor, texts: torch.Tensor, ids: torch.Tensor) -> None:
        """Add features (B, D) and ids (B,) of all processes, in order of rank."""
        self._waiting.append((gather_rows(images), gather_rows(texts), gather_rows(ids)))

    @torch.no_grad()
    def flush(self) -> None:
        """Write the waiting features."""
        pointer = self.owner.get_buffer("queue_ptr")
        for images, texts, ids in self._waiting:
            images, texts, ids = (part[-self.size :] for part in (images, texts, ids))
            columns = (pointer + torch.arange(len(ids), device=ids.device)) % self.size
            self.images[:, columns] = images.T.to(self.images.dtype)
            self.texts[:, columns] = texts.T.to(self.texts.dtype)
            self.ids[columns] = ids
            pointer.add_(len(ids)).remainder_(self.size)
        self._waiting.clear()
