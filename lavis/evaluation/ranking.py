"""Ranks of the matching partners, counted tile by tile: memory grows with N, not with N².

One matrix product per tile serves both directions. A first pass over the few tiles with matching pairs takes each
query's own score *from the same product it is later compared with*, so that equal embeddings tie exactly. A second pass
over all tiles counts, by row and by column, the competitors that score strictly lower.

rank = competitors − competitors strictly below. A query thus loses ties (pessimistic) and comparisons with NaN. A query
is MISSED if its own score is NaN or minus infinity, or if it has no matching partner.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lavis.evaluation.matches import Matches, build_matches, inverse
from lavis.evaluation.tiles import BLOCK, OwnScores, Tiles, blocks_of, cut, tile_rows

MISSED = 2**62
Reduce = Callable[[torch.Tensor], torch.Tensor]


def ranks_from_features(
    image: torch.Tensor | np.ndarray,
    text: torch.Tensor | np.ndarray,
    txt2img: Any,
    *,
    block: int | None = None,
    text_group: Any = None,
    shard: tuple[int, int] = (0, 1),
    reduce: Reduce | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks (0 is first) of each image's best own text (n_img,) and of each text's best image (n_txt,), int64.

    Scores are dot products of image (n_img, D) and text (n_txt, D) in their own precision (half becomes float32), on
    their device. Texts with the same text_group number do not compete: an image with an equal text matches too. block:
    images and texts per tile; None: `tile_rows`. shard = (rank, world): this process takes the blocks of `block` images
    whose number is rank modulo world; `reduce` must return the sum of an int64 tensor over all processes.

    Raises ValueError for features that are not (n, D) with one D, a wrong txt2img or text_group, or a block < 1.
    """
    image, text = as_features(image, text)
    block = tile_rows(image.device, image.dtype) if block is None else block
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    if shard[1] > 1 and reduce is None:
        raise ValueError(f"shard {shard} needs a reduce function that sums counts over the {shard[1]} processes")
    if len(txt2img) != len(text):
        raise ValueError(f"txt2img has {len(txt2img)} entries for {len(text)} texts")
    matches = build_matches(txt2img, text_group, len(image))
    if not len(image) or not len(text):
        return np.full(len(image), MISSED), np.full(len(text), MISSED)
    blocks = cut(image, matches.image_order, block)
    cols, texts = cut(text, matches.text_order, block)
    with torch.no_grad():
        tiles = Tiles(matches, blocks, cols, lambda: texts, image)
        own = tiles.own_scores()
        below = tiles.count_below(own, slice(shard[0], None, shard[1]))
    return ranks_from_counts(matches, reduce(below) if reduce is not None else below, own)


def ranks_from_counts(matches: Matches, below: torch.Tensor, own: OwnScores) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of images (n_img,) and texts (n_txt,) by index, int64, from the results of `Tiles` by position.

    below (n_img + n_txt,) int64 is the sum over all comparisons.
    """
    counts, n_img, n_txt = below.cpu().numpy(), len(matches.image_order), len(matches.text_order)
    row_rank = _ranks(n_txt - matches.own_texts, counts[:n_img], own[0])
    col_rank = _ranks(n_img - matches.own_images, counts[n_img:], own[1])
    return row_rank[inverse(matches.image_order)], col_rank[inverse(matches.text_order)]


def ranks_from_rows(scores: np.ndarray, own: list[np.ndarray]) -> np.ndarray:
    """Rank of the best of the columns own[i] (possibly none) in each row of scores (n, m), (n,) int64; same rules."""
    ranks = np.full(len(scores), MISSED)
    for rows in blocks_of(range(len(scores)), BLOCK):
        part = np.array(scores[rows], dtype=np.result_type(scores.dtype, np.float32))
        count = np.array([len(columns) for columns in own[rows]])
        where = (np.repeat(np.arange(len(part)), count), np.concatenate(own[rows]).astype(np.int64))
        best = np.full(len(part), -np.inf, dtype=part.dtype)
        np.fmax.at(best, where[0], part[where])
        part[where] = np.inf
        below = np.count_nonzero(part < best[:, None], axis=1)
        ranks[rows] = np.where(np.isneginf(best), MISSED, part.shape[1] - count - below)
    return ranks


def _ranks(competitors: np.ndarray, below: np.ndarray, own: torch.Tensor) -> np.ndarray:
    return np.where(own.isneginf().cpu().numpy(), MISSED, competitors - below)


def as_features(*features: torch.Tensor | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n_img, D) and texts (n_txt, D) in one precision on one device. Raises ValueError for other shapes."""
    tensors = [torch.as_tensor(f) for f in features]
    shapes = [tuple(f.shape) for f in tensors]
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"features need shapes (n_img, D) and (n_txt, D), got {shapes[0]} and {shapes[1]}")
    kind = torch.promote_types(torch.promote_types(tensors[0].dtype, tensors[1].dtype), torch.float32)
    image, text = (f.detach().to(kind) for f in tensors)
    return image, text.to(image.device)
