"""Ranks, cosines and faults of a split whose features no process holds as a whole.

Images and texts lie in the order of ranking, cut into blocks as `ranks_from_features` cuts them; every process
holds consecutive whole blocks of both. The tiles of texts travel: each owner sends its own, one at a time, and every
process multiplies it with its own images. Products, own scores and counts are those of one process with everything;
what the processes exchange beside tiles is one number an image and one a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from lavis.common import distributed
from lavis.evaluation.matches import Matches, build_matches
from lavis.evaluation.ranking import MISSED, as_features, ranks_from_counts, to_numpy
from lavis.evaluation.tiles import Tiles, blocks_of, pad_rows, padded_length

BLOCK = 1024


class Peers(Protocol):
    """How processes exchange; lavis.common.distributed does, and so may anything that stands in for it."""

    def broadcast_rows(self, rows: torch.Tensor, source: int) -> None: ...

    def sum_counts(self, counts: torch.Tensor) -> torch.Tensor: ...

    def greatest(self, values: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True)
class PartitionPlan:
    """Which rows of a split process `rank` of `world` holds: whole blocks of `block` positions, in ranking's order.

    txt2img (n_txt,) int64 is the image of each text. Of a split of fewer blocks than processes some hold nothing.
    """

    relation: Matches
    txt2img: np.ndarray
    block: int
    rank: int
    world: int

    @property
    def n_img(self) -> int:
        return len(self.relation.image_order)

    @property
    def n_txt(self) -> int:
        return len(self.relation.text_order)

    @property
    def images(self) -> range:
        """Positions of the own images."""
        return self._own(self.n_img)

    @property
    def texts(self) -> range:
        """Positions of the own texts."""
        return self._own(self.n_txt)

    @property
    def image_rows(self) -> np.ndarray:
        """Indices (n_i,) of the own images in the split, in the order in which their features must lie."""
        return self.relation.image_order[self.images.start : self.images.stop]

    @property
    def text_rows(self) -> np.ndarray:
        """Indices (m_j,) of the own texts in the split, in the order in which their features must lie."""
        return self.relation.text_order[self.texts.start : self.texts.stop]

    def owner(self, tile: int) -> int:
        """The process that holds tile number `tile` of the texts."""
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
    block: int | None = None,
    shard: tuple[int, int] | None = None,
) -> PartitionPlan:
    """The plan of a split of n_img images; the arguments are those of `ranks_from_features`.

    block: None is 1024. shard = (rank, world): None is this process's. Raises ValueError as `build_matches` does,
    and for a block < 1.
    """
    block = BLOCK if block is None else block
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    owned = to_numpy(txt2img)
    relation = build_matches(owned, None if text_group is None else to_numpy(text_group), n_img)
    rank, world = shard or (distributed.rank(), distributed.world_size())
    return PartitionPlan(relation, owned.astype(np.int64), block, rank, world)


def ranks_from_partition(
    image: torch.Tensor, text: torch.Tensor, plan: PartitionPlan, *, peers: Peers = distributed
) -> tuple[np.ndarray, np.ndarray]:
    """The ranks that `ranks_from_features` gives of the whole split, (n_img,) and (n_txt,), on every process.

    image (n_i, D) and text (m_j, D) are the rows of plan.image_rows and plan.text_rows, of equal precision on all
    processes, which must call it together. A process holds these, one tile of texts and one of scores.

    Raises ValueError for features of another shape.
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
        tiles = Tiles(plan.relation, (rows, images), cols, lambda: travelling(text, plan, peers), image)
        of_rows, of_cols = tiles.own_scores()
        best = peers.greatest(torch.cat([of_rows, of_cols]))
        own = best[: plan.n_img], best[plan.n_img :]
        return ranks_from_counts(plan.relation, peers.sum_counts(tiles.count_below(own)), own)


def travelling(text: torch.Tensor, plan: PartitionPlan, peers: Peers) -> Iterator[torch.Tensor]:
    """Every tile of the texts in order, padded, on all processes; the next one overwrites it."""
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
    """SplitFeatures.paired_cosines of the whole split, (n_txt,) float64, on every process; arguments as for ranks."""
    _check(image, text, plan)
    found = torch.zeros(plan.n_txt, dtype=torch.float64)
    if not plan.n_txt:
        return found
    position = np.empty_like(plan.relation.image_order)
    position[plan.relation.image_order] = np.arange(plan.n_img)
    partner = position[plan.txt2img[plan.relation.text_order]] - plan.images.start
    for part, tile in zip(blocks_of(range(plan.n_txt), plan.block), travelling(text, plan, peers), strict=True):
        rows = partner[part]
        here = np.flatnonzero((rows >= 0) & (rows < len(image)))
        if len(here):
            own, theirs = image[torch.from_numpy(rows[here])], tile[torch.from_numpy(here)]
            found[torch.from_numpy(plan.relation.text_order[part][here])] = (own.double() * theirs.double()).sum(dim=1)
    return peers.sum_counts(found)


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
        """Cosine of every caption of the split with its own image, (n_txt,) float64; all processes together."""
        return cosines_from_partition(self.image, self.text, self.plan)

    def ranks(self, device: torch.device | str = "cpu") -> tuple[np.ndarray, np.ndarray]:
        """`ranks_from_partition`, counted on a device; all processes together."""
        return ranks_from_partition(self.image.to(device), self.text.to(device), self.plan)


def _check(image: torch.Tensor, text: torch.Tensor, plan: PartitionPlan) -> None:
    wanted = (len(plan.images), len(plan.texts))
    if (len(image), len(text)) != wanted:
        raise ValueError(f"process {plan.rank} holds {wanted} images and texts, got {(len(image), len(text))}")
