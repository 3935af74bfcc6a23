"""A micro-batch on the device, and the random draws and numbers that belong to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch

from lavis.common import distributed
from lavis.common.seed import derived_seed, generator
from lavis.models.base import Inputs, TrainingStep


@dataclass
class Batch:
    """One micro-batch on the device: for each side what the model prepared, its captions, rows and caption ids.

    `number` is the global number of the micro-batch; random draws are keyed by it, never by the process. `progress`
    is for objectives that change while training. `gather`: similarities, permutation and caption groups are of the
    batch of all processes (run.gather_similarity).
    """

    sets: dict[str, Inputs]
    seed: int
    epoch: int
    number: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    progress: TrainingStep = field(default_factory=TrainingStep)
    gather: bool = False

    def size(self, side: str) -> int:
        return len(self.sets[side]["captions"])

    @cached_property
    def permutation(self) -> torch.Tensor:
        """π: a random permutation of the forget batch, (B,)."""
        world = distributed.world_size() if self.gather else 1
        draws = generator(self.seed, "permutation", self.epoch, self.number // world)
        return torch.randperm(self.size("df") * world, generator=draws).to(self.device)

    def caption_groups(self, side: str) -> torch.Tensor:
        """(B,) numbers of the captions of one side's batch; equal strings share one."""
        if self.gather:
            hashes = [derived_seed(caption) % 2**63 for caption in self.sets[side]["captions"]]
            return distributed.gather_live(torch.tensor(hashes, device=self.device))
        seen: dict[str, int] = {}
        numbers = [seen.setdefault(caption, len(seen)) for caption in self.sets[side]["captions"]]
        return torch.tensor(numbers, device=self.device)
