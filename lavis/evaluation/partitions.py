"""Ranks and cosines of a split whose features are partitioned over the processes.

Images and texts are in ranking order, cut into the blocks of `ranks_from_features`; each process holds consecutive
whole blocks of both. Owners broadcast their tiles of texts, one at a time, and every process multiplies each tile with
its own images. Products, own scores and counts are the same as on one process with all features. Apart from tiles, the
processes exchange one number per image and one per text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from lavis.common import distributed
from lavis.evaluation.inputs import row_numbers
from lavis.evaluation.matches import Matches, build_matches, inverse
from lavis.evaluation.ranking import MISSED, as_features, ranks_from_counts
from lavis.evaluation.tiles import BLOCK, Tiles, blocks_of, pad_rows, padded_length


class Peers(Protocol):
    """How processes exchange data: lavis.common.distributed, or a stand-in for it."""

    def broadcast_rows(self, rows: torch.Tensor, source: int) -> None: ...

    def sum_counts(self, counts: torch.Tensor) -> torch.Tensor: ...

    def greatest(self, values: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True)
class PartitionPlan:
    """Which rows of a split process `rank` of `world` holds: whole blocks of `block` positions in ranking order.

    txt2img (n_txt,) int64 is the image of each text. If there are fewer blocks than processes, some hold nothing.
    """

    matches: Matches
    txt2img: np.ndarray
    block: int
    rank: int
    world: int

    @property
    def n_img(self) -> int:
        return len(self.matches.image_order)

    @property
    def n_txt(self) -> int:
        return len(self.matches.text_order)

    @property
    def images(self) -> range:
        """Positions of this process's images."""
        return self._own(self.n_img)

    @property
    def texts(self) -> range:
        """Positions of this process's texts."""
        return self._own(self.n_txt)

    @property
    def image_rows(self) -> np.ndarray:
        """Indices (n_i,) of this process's images in the split, in the order of its feature rows."""
        return self.matches.image_order[self.images.start : self.images.stop]

    @property
    def text_rows(self) -> np.ndarray:
        """Indices (m_j,) of this process's texts in the split, in the order of its feature rows."""
        return self.matches.text_order[self.texts.start : self.texts.stop]

    def owner(self, tile: int) -> int:
        """The process that has tile number `tile` of the texts."""
        return ((tile + 1) * self.world - 1) // -(-self.n_txt // self.block)

    def _own(self, n: int) -> range:
        count = -(-n // self.block)
        first, last = (count * rank // self.world * self.block for rank in (self.rank, self.rank + 1))
        return range(min(n, first), min(n, last))


def partition_plan(
    txt2img: np.ndarray | torch.Tensor,
    text_group: np.ndarray | torch.Tensor | None,
    n_img: int,
    *,
    block: int = BLOCK,
    shard: tuple[int, int] | None = None,
) -> PartitionPlan:
    """The plan of a split of n_img images, from the arguments of `ranks_from_features`.

    shard = (rank, world); None: those of this process. Raises ValueError as `build_matches`, and for a block < 1.
    """
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    rank, world = shard or (distributed.rank(), distributed.world_size())
    matches = build_matches(txt2img, text_group, n_img)
    return PartitionPlan(matches, row_numbers(txt2img, len(txt2img), "txt2img"), block, rank, world)


def ranks_from_partition(
    image: torch.Tensor, text: torch.Tensor, plan: PartitionPlan, *, peers: Peers = distributed
) -> tuple[np.ndarray, np.ndarray]:
    """The ranks of `ranks_from_features` for the whole split, (n_img,) and (n_txt,), on every process.

    image (n_i, D) and text (m_j, D) are the rows of plan.image_rows and plan.text_rows, in the same precision on all
    processes, which must call it together. Besides these, a process needs memory for one tile of texts and one of
    scores. Raises ValueError for features of another shape.
    """
    image, text = as_features(image, text)
    _check(image, text, plan)
    if not plan.n_img or not plan.n_txt:
        return np.full(plan.n_img, MISSED), np.full(plan.n_txt, MISSED)
    rows = blocks_of(plan.images, plan.block)
    start = plan.images.start
    images = [pad_rows(image[part.start - start : part.stop - start]) for part in rows]
    cols = blocks_of(range(plan.n_txt), plan.block)
    with torch.no_grad():
        tiles = Tiles(plan.matches, (rows, images), cols, lambda: travelling(text, plan, peers), image)
        of_rows, of_cols = tiles.own_scores()
        best = peers.greatest(torch.cat([of_rows, of_cols]))
        own = best[: plan.n_img], best[plan.n_img :]
        return ranks_from_counts(plan.matches, peers.sum_counts(tiles.count_below(own)), own)


def travelling(text: torch.Tensor, plan: PartitionPlan, peers: Peers) -> Iterator[torch.Tensor]:
    """All tiles of texts in order, padded, on all processes; each one overwrites the one before."""
    parts = blocks_of(range(plan.n_txt), plan.block)
    buffer = text.new_empty(padded_length(parts[0].stop), text.shape[1])
    for number, part in enumerate(parts):
        owner = plan.owner(number)
        if owner == plan.rank:
            tile = pad_rows(text[part.start - plan.texts.start : part.stop - plan.texts.start])
        else:
            tile = buffer[: padded_length(part.stop - part.start)]
        peers.broadcast_rows(tile, owner)
        yield tile


def cosines_from_partition(
    image: torch.Tensor, text: torch.Tensor, plan: PartitionPlan, *, peers: Peers = distributed
) -> torch.Tensor:
    """SplitFeatures.paired_cosines of the whole split, (n_txt,) float64. Arguments as for `ranks_from_partition`."""
    _check(image, text, plan)
    cosines = torch.zeros(plan.n_txt, dtype=torch.float64)
    if not plan.n_txt:
        return cosines
    text_order = plan.matches.text_order
    partner = inverse(plan.matches.image_order)[plan.txt2img[text_order]] - plan.images.start
    for part, tile in zip(blocks_of(range(plan.n_txt), plan.block), travelling(text, plan, peers), strict=True):
        rows = partner[part]
        here = np.flatnonzero((rows >= 0) & (rows < len(image)))
        if len(here):
            own, theirs = image[torch.from_numpy(rows[here])], tile[torch.from_numpy(here)]
            cosines[torch.from_numpy(text_order[part][here])] = (own.double() * theirs.double()).sum(dim=1)
    return peers.sum_counts(cosines)


@dataclass(frozen=True)
class SplitPartition:
    """This process's rows of one split, float32, L2-normalised, on the CPU: image (n_i, D) and text (m_j, D)."""

    plan: PartitionPlan
    image: torch.Tensor
    text: torch.Tensor

    @property
    def txt2img(self) -> np.ndarray:
        """The image of each text of the whole split, (n_txt,) int64."""
        return self.plan.txt2img

    @cached_property
    def paired_cosines(self) -> torch.Tensor:
        """Cosine of each caption of the split with its image, (n_txt,) float64; all processes together."""
        return cosines_from_partition(self.image, self.text, self.plan)

    def ranks(self, device: torch.device | str = "cpu") -> tuple[np.ndarray, np.ndarray]:
        """`ranks_from_partition` on a device; all processes together."""
        return ranks_from_partition(self.image.to(device), self.text.to(device), self.plan)


def _check(image: torch.Tensor, text: torch.Tensor, plan: PartitionPlan) -> None:
    wanted = (len(plan.images), len(plan.texts))
    if (len(image), len(text)) != wanted:
        raise ValueError(f"process {plan.rank} holds {wanted} images and texts, got {(len(image), len(text))}")
