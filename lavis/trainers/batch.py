"""A micro-batch on the device, with its random permutation and the groups of its equal captions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch

from lavis.common import distributed
from lavis.common.seed import derived_seed, generator
from lavis.common.transfer import to_device
from lavis.models.base import Inputs, TrainingStep


@dataclass
class Batch:
    """One micro-batch on the device: for each set ("df", "dr") the model's inputs, captions, rows and caption ids.

    `number` is the global number of the micro-batch. Random draws depend on it and not on the process, so that any
    number of processes draws the same. `progress` is for objectives that change during training. `gather`:
    similarities, permutation and caption groups span the batches of all processes (run.gather_similarity).

    `rows`: how many rows of each set every process has in this micro-batch; empty: as many as here. `weight`: that of
    the loss, a mean over rows, in its step; 1 unless micro-batches of the step differ in size.
    """

    sets: dict[str, Inputs]
    seed: int
    epoch: int
    number: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    progress: TrainingStep = field(default_factory=TrainingStep)
    gather: bool = False
    rows: tuple[int, ...] = ()
    weight: float = 1.0

    def size(self, name: str) -> int:
        return len(self.sets[name]["captions"])

    def of_all(self, rows: torch.Tensor) -> torch.Tensor:
        """These rows of all processes' micro-batches, with gradient."""
        return distributed.gather_live(rows, self.rows)

    @cached_property
    def permutation(self) -> torch.Tensor:
        """π: a random permutation of the forget batch, (B,)."""
        world = distributed.world_size() if self.gather else 1
        draws = generator(self.seed, "permutation", self.epoch, self.number // world)
        total = sum(self.rows) if self.gather and self.rows else self.size("df") * world
        return to_device(torch.randperm(total, generator=draws), self.device)

    def caption_groups(self, name: str) -> torch.Tensor:
        """(B,) int64: a number per caption of one set's batch, the same for equal strings."""
        captions = self.sets[name]["captions"]
        if self.gather:  # hashes, because the processes cannot agree on smaller numbers without exchanging strings
            hashes = [derived_seed(caption) % 2**63 for caption in captions]
            return self.of_all(to_device(torch.tensor(hashes), self.device))
        seen: dict[str, int] = {}
        numbers = [seen.setdefault(caption, len(seen)) for caption in captions]
        return to_device(torch.tensor(numbers), self.device)
