"""Ranks of the right partners, counted tile by tile: memory grows with N, not with N².

One matrix product per tile serves both directions. A first pass over the few tiles that hold right pairs
takes each query's own score *from the very product it is later compared with*, so that equal embeddings tie
exactly; a second pass over all tiles counts, by row and by column, the competitors that score strictly lower.

rank = competitors − competitors strictly below, so a tie is lost by the query (pessimistic), and so is every
comparison with NaN. A query whose own score is NaN or minus infinity, or that has no right partner, is MISSED.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from lavis.evaluation.matches import Matches, build_matches
from lavis.evaluation.tiles import OwnScores, Tiles, cut

MISSED = 2**62
Reduce = Callable[[torch.Tensor], torch.Tensor]


def ranks_from_features(
    image: torch.Tensor | np.ndarray,
    text: torch.Tensor | np.ndarray,
    txt2img: np.ndarray,
    *,
    block: int = 1024,
    text_group: np.ndarray | None = None,
    shard: tuple[int, int] = (0, 1),
    reduce: Reduce | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Ranks (0 is first) of each image's best own text (n_img,) and of each text's best image (n_txt,), int64.

    Scores are dot products of image (n_img, D) and text (n_txt, D) as given, in their own precision (half
    becomes float32), on their device. Texts of one text_group number do not compete with each other: an image
    that bears an equal text is right. shard = (rank, world): this process takes the blocks of `block` images
    whose number is rank modulo world; `reduce` must return the sum of an int64 tensor over all processes.

    Raises ValueError for features that are not (n, D) with one D, a wrong txt2img or text_group, or a block < 1.
    """
    image, text = as_features(image, text)
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    if shard[1] > 1 and reduce is None:
        raise ValueError(f"shard {shard} needs a reduce function that sums counts over the {shard[1]} processes")
    relation = build_matches(to_numpy(txt2img), None if text_group is None else to_numpy(text_group), len(image))
    if len(relation.text_order) != len(text):
        raise ValueError(f"txt2img has {len(relation.text_order)} entries for {len(text)} texts")
    if not len(image) or not len(text):
        return np.full(len(image), MISSED), np.full(len(text), MISSED)
    rows, images = cut(image, relation.image_order, block)
    cols, texts = cut(text, relation.text_order, block)
    with torch.no_grad():
        tiles = Tiles(relation, (rows, images), cols, lambda: texts, image)
        own = tiles.own_scores()
        below = tiles.count_below(own, slice(shard[0], None, shard[1]))
    return ranks_from_counts(relation, reduce(below) if reduce is not None else below, own)


def ranks_from_counts(relation: Matches, below: torch.Tensor, own: OwnScores) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of images (n_img,) and texts (n_txt,) by index, int64, from what `Tiles` found of them by position.

    below (n_img + n_txt,) int64 is summed over everything that was compared.
    """
    counts, n_img, n_txt = below.cpu().numpy(), len(relation.image_order), len(relation.text_order)
    row_rank = _ranks(n_txt - relation.own_texts, counts[:n_img], own[0])
    col_rank = _ranks(n_img - relation.own_images, counts[n_img:], own[1])
    return _unsort(row_rank, relation.image_order), _unsort(col_rank, relation.text_order)


def ranks_from_rows(scores: np.ndarray, own: list[np.ndarray], block: int = 1024) -> np.ndarray:
    """Rank of the best right column in every row of a score matrix (n, m), by the same rules, (n,) int64.

    own[i] holds the right columns of row i (possibly none).
    """
    ranks = np.full(len(scores), MISSED)
    for rows in _blocks(len(scores), block):
        part = np.array(scores[rows], dtype=np.result_type(scores.dtype, np.float32))
        count = np.array([len(columns) for columns in own[rows]])
        where = (np.repeat(np.arange(len(part)), count), np.concatenate(own[rows]).astype(np.int64))
        best = np.full(len(part), -np.inf, dtype=part.dtype)
        np.fmax.at(best, where[0], part[where])
        part[where] = np.inf
        below = np.count_nonzero(part < best[:, None], axis=1)
        ranks[rows] = np.where(np.isneginf(best), MISSED, part.shape[1] - count - below)
    return ranks


def _blocks(n: int, block: int) -> Iterator[slice]:
    return (slice(start, min(start + block, n)) for start in range(0, n, block))


def _ranks(competitors: np.ndarray, below: np.ndarray, own: torch.Tensor) -> np.ndarray:
    return np.where(own.isneginf().cpu().numpy(), MISSED, competitors - below)


def _unsort(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    result = np.empty_like(values)
    result[order] = values
    return result


def as_features(*features: torch.Tensor | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n_img, D) and texts (n_txt, D) in one precision on one device. Raises ValueError for other shapes."""
    tensors = [torch.as_tensor(f) for f in features]
    shapes = [tuple(f.shape) for f in tensors]
    if any(len(shape) != 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise ValueError(f"features need shapes (n_img, D) and (n_txt, D), got {shapes[0]} and {shapes[1]}")
    kind = torch.promote_types(torch.promote_types(tensors[0].dtype, tensors[1].dtype), torch.float32)
    image, text = (f.detach().to(kind) for f in tensors)
    return image, text.to(image.device)


def to_numpy(values: torch.Tensor | np.ndarray) -> np.ndarray:
    """A tensor or anything like an array, as an array."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
