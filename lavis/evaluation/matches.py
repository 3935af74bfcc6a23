"""Which texts match which images, in an order that puts matching pairs close to the diagonal.

A text matches an image that has this text or one of the same group (an equal string). There can be up to n_img × n_txt
matching pairs (one caption for everything), so they are stored as *edges*: an image position, and the run of
consecutive text positions that one group of texts occupies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lavis.evaluation.inputs import row_numbers


@dataclass(frozen=True, slots=True)
class Matches:
    """Matching pairs in ranking order; a *position* is an index in that order.

    image_order (n_img,), text_order (n_txt,): position -> original index. edge_image, edge_start, edge_end (n_edge,):
    image position and run of text positions, sorted by image position. own_texts (n_img,) and own_images (n_txt,):
    number of matching partners by position.
    """

    image_order: np.ndarray
    text_order: np.ndarray
    edge_image: np.ndarray
    edge_start: np.ndarray
    edge_end: np.ndarray
    own_texts: np.ndarray
    own_images: np.ndarray

    def right_pairs(self, rows: slice, cols: slice) -> tuple[np.ndarray, np.ndarray]:
        """The matching pairs of a tile: rows and columns counted from its corner, two (n,) arrays."""
        first, last = np.searchsorted(self.edge_image, (rows.start, rows.stop))
        start = np.maximum(self.edge_start[first:last], cols.start)
        length = np.maximum(np.minimum(self.edge_end[first:last], cols.stop) - start, 0)
        local_rows = np.repeat(self.edge_image[first:last] - rows.start, length)
        ends = np.cumsum(length)
        local_cols = np.arange(len(local_rows)) + np.repeat(start - cols.start - (ends - length), length)
        return local_rows, local_cols


def build_matches(txt2img: Any, text_group: Any, n_img: int) -> Matches:
    """Matches of n_txt texts with n_img images, from arrays or tensors.

    txt2img (n_txt,) is the image of each text; text_group (n_txt,) has the same number for equal strings (None: all
    differ). Raises ValueError for another shape and for an image number outside 0 … n_img − 1.
    """
    n_txt = len(txt2img)
    txt2img = row_numbers(txt2img, n_txt, "txt2img")
    if n_txt and (txt2img.min() < 0 or txt2img.max() >= n_img):
        raise ValueError(f"txt2img must lie in 0..{n_img - 1}, got {txt2img.min()}..{txt2img.max()}")
    group = np.arange(n_txt) if text_group is None else row_numbers(text_group, n_txt, "text_group")
    _, group = np.unique(group, return_inverse=True)
    image_order, text_order, group = _orders(txt2img, group, n_img)
    return _edges(txt2img, group, image_order, text_order)


def _orders(txt2img: np.ndarray, group: np.ndarray, n_img: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image order, text order, and groups renumbered by their first image. Without shared texts, no order changes."""
    first_image = _least(group, txt2img)
    image_key = np.arange(n_img)
    np.minimum.at(image_key, txt2img, first_image[group])
    image_order = np.argsort(image_key, kind="stable")
    group_order = np.argsort(_least(group, inverse(image_order)[txt2img]), kind="stable")
    group = inverse(group_order)[group]
    return image_order, np.argsort(group, kind="stable"), group


def _least(group: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The least value of each group 0 … n_group − 1."""
    least = np.full(int(group.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, group, values)
    return least


def inverse(order: np.ndarray) -> np.ndarray:
    """The position of each index in an order."""
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    return position


def _edges(txt2img: np.ndarray, group: np.ndarray, image_order: np.ndarray, text_order: np.ndarray) -> Matches:
    """The matches, from groups that are numbered in text order."""
    group_size = np.bincount(group)
    group_end = np.cumsum(group_size)
    n_group = max(len(group_size), 1)
    edge_image, edge_group = np.divmod(np.unique(inverse(image_order)[txt2img] * n_group + group), n_group)
    own_texts = np.zeros(len(image_order), dtype=np.int64)
    np.add.at(own_texts, edge_image, group_size[edge_group])
    own_images = np.bincount(edge_group)[group[text_order]]
    end = group_end[edge_group]
    return Matches(image_order, text_order, edge_image, end - group_size[edge_group], end, own_texts, own_images)
