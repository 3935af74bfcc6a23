"""A micro-batch on the device, with its random permutation and the groups of its equal captions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch

from lavis.common import distributed
from lavis.common.seed import derived_seed, generator
from lavis.models.base import Inputs, TrainingStep


@dataclass
class Batch:
    """One micro-batch on the device: for each set ("df", "dr") the model's inputs, captions, rows and caption ids.

    `number` is the global number of the micro-batch. Random draws depend on it and not on the process, so that any
    number of processes draws the same. `progress` is for objectives that change during training. `gather`:
    similarities, permutation and caption groups span the batches of all processes (run.gather_similarity).
    """

    sets: dict[str, Inputs]
    seed: int
    epoch: int
    number: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    progress: TrainingStep = field(default_factory=TrainingStep)
    gather: bool = False

    def size(self, name: str) -> int:
        return len(self.sets[name]["captions"])

    @cached_property
    def permutation(self) -> torch.Tensor:
        """π: a random permutation of the forget batch, (B,)."""
        world = distributed.world_size() if self.gather else 1
        draws = generator(self.seed, "permutation", self.epoch, self.number // world)
        return torch.randperm(self.size("df") * world, generator=draws).to(self.device)

    def caption_groups(self, name: str) -> torch.Tensor:
        """(B,) int64: a number per caption of one set's batch, the same for equal strings."""
        captions = self.sets[name]["captions"]
        if self.gather:  # hashes, because the processes cannot agree on smaller numbers without exchanging strings
            hashes = [derived_seed(caption) % 2**63 for caption in captions]
            return distributed.gather_live(torch.tensor(hashes, device=self.device))
        seen: dict[str, int] = {}
        return torch.tensor([seen.setdefault(caption, len(seen)) for caption in captions], device=self.device)
