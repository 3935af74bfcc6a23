"""The score matrix as a grid of tiles: own scores come from the same products that they are compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F

from lavis.evaluation.matches import Matches

BLOCK = 1024  # rows of a tile on the CPU: its 4 MiB of scores stay in the cache between product and count
GPU_BYTES = 2**28  # of one tile's scores on a GPU
_ALIGN = 64  # rows; see `cut`
OwnScores = tuple[torch.Tensor, torch.Tensor]  # of images (n_img,) and of texts (n_txt,), by position
Blocks = tuple[list[slice], list[torch.Tensor]]  # positions, and their features padded to `padded_length` rows


class Tiles:
    """Products of some blocks of images with all tiles of texts, each computed into the same buffer.

    Args:
        images: blocks of images; own scores and counts cover only these.
        cols: positions of all tiles of texts.
        texts: returns an iterator over the tiles' padded features; a tile is not used after the next one is taken.
        like: a tensor with the features' precision and device.
    """

    def __init__(
        self,
        matches: Matches,
        images: Blocks,
        cols: list[slice],
        texts: Callable[[], Iterable[torch.Tensor]],
        like: torch.Tensor,
    ) -> None:
        self.matches = matches
        self.rows, self.images = images
        self.cols, self.texts = cols, texts
        self.n_img, self.n_txt = len(matches.image_order), len(matches.text_order)
        widest = max((padded_length(part.stop - part.start) for part in cols), default=0)
        self._scores = like.new_empty(max(map(len, self.images), default=0) * widest)
        self._below = torch.empty_like(self._scores)

    def own_scores(self) -> OwnScores:
        """Best matching score at each image (n_img,) and text (n_txt,) position; minus infinity if none is here."""
        row_own = self._scores.new_full((self.n_img,), -torch.inf)
        col_own = self._scores.new_full((self.n_txt,), -torch.inf)
        for cols, text in zip(self.cols, self.texts(), strict=True):
            for rows, image in zip(self.rows, self.images, strict=True):
                pairs = self._right_pairs(rows, cols)
                if pairs is None:
                    continue
                own = self._product(image, text)[pairs]
                own = torch.where(own.isnan(), -torch.inf, own)
                row_own[rows].scatter_reduce_(0, pairs[0], own, "amax")
                col_own[cols].scatter_reduce_(0, pairs[1], own, "amax")
        return row_own, col_own

    def count_below(self, own: OwnScores, blocks: slice = slice(None)) -> torch.Tensor:
        """Competitors strictly below the own score, images then texts, (n_img + n_txt,) int64, in these blocks."""
        below = torch.zeros(self.n_img + self.n_txt, dtype=torch.int64, device=own[0].device)
        rows, images = self.rows[blocks], self.images[blocks]
        best = [_padded(own[0], part, len(image)) for part, image in zip(rows, images, strict=True)]
        for cols, text in zip(self.cols, self.texts(), strict=True):
            of_texts = below[self.n_img + cols.start : self.n_img + cols.stop]
            col_best = _padded(own[1], cols, len(text))
            for part, image, row_best in zip(rows, images, best, strict=True):
                scores = self._product(image, text)
                pairs = self._right_pairs(part, cols)
                if pairs is not None:
                    scores[pairs] = torch.inf
                of_rows, of_cols = self._lower(scores, row_best, col_best)
                below[part] += of_rows[: part.stop - part.start].long()
                of_texts += of_cols[: cols.stop - cols.start].long()
        return below

    def _lower(self, scores: torch.Tensor, row_best: OwnScores, col_best: OwnScores) -> OwnScores:
        """How many scores of each row and column are below its best, without padding; overwrites the tile."""
        lower = self._below[: scores.numel()].view(scores.shape)
        torch.lt(scores, row_best[0][:, None], out=lower)
        of_rows = lower @ col_best[1]
        return of_rows, row_best[1] @ scores.lt_(col_best[0])

    def _product(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        scores = self._scores[: len(image) * len(text)].view(len(image), len(text))
        return torch.mm(image, text.T, out=scores)

    def _right_pairs(self, rows: slice, cols: slice) -> tuple[torch.Tensor, torch.Tensor] | None:
        local_rows, local_cols = self.matches.right_pairs(rows, cols)
        if not len(local_rows):
            return None
        device = self._scores.device
        return torch.from_numpy(local_rows).to(device), torch.from_numpy(local_cols).to(device)


def cut(features: torch.Tensor, order: np.ndarray, block: int) -> Blocks:
    """Consecutive blocks of rows (n, D) in an order, and their padded features.

    Padding matters: BLAS uses other kernels for odd sizes, whose last bit may differ, and equal rows would not tie.
    """
    n = len(features)
    if not np.array_equal(order, np.arange(n)):
        features = features[torch.from_numpy(order).to(features.device)]
    parts = blocks_of(range(n), block)
    return parts, [pad_rows(features[part]) for part in parts]


def tile_rows(device: torch.device, dtype: torch.dtype = torch.float32) -> int:
    """How many images, and how many texts, one tile compares. The number of processes must not change it.

    On CUDA 8,192 in single precision (256 MiB), 5,760 in double: the larger a tile, the fewer kernels are launched and
    the less often the host waits. `Tiles` takes two buffers of this size.
    """
    if device.type != "cuda":
        return BLOCK
    rows = math.isqrt(GPU_BYTES // dtype.itemsize)
    return rows - rows % _ALIGN


def blocks_of(positions: range, block: int) -> list[slice]:
    """Consecutive slices of at most `block` positions."""
    return [slice(start, min(start + block, positions.stop)) for start in positions[::block]]


def padded_length(n: int) -> int:
    """The next multiple of 64."""
    return n + -n % _ALIGN


def pad_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows (n, D), padded with zeros to `padded_length`."""
    missing = padded_length(len(rows)) - len(rows)
    return torch.cat([rows, rows.new_zeros(missing, rows.shape[1])]) if missing else rows


def _padded(own: torch.Tensor, part: slice, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Own scores of a block, padded to `length` rows, and weights: 1 for real rows, 0 for padding."""
    missing = (0, length - (part.stop - part.start))
    return F.pad(own[part], missing), F.pad(torch.ones_like(own[part]), missing)
