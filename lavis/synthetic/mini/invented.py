"""Portraits of people who are in no data set, as arrays."""

from __future__ import annotations

import numpy as np

from lavis.synthetic.mini.looks import random_look
from lavis.synthetic.mini.portraits import draw_portrait


def invented_portraits(count: int, pixels: int, seed: int) -> np.ndarray:
    """Drawn portraits, uint8 (count, 3, pixels, pixels), each of another person."""
    draws = np.random.default_rng(seed)
    images = [np.asarray(draw_portrait(random_look(draws), draws, pixels)) for _ in range(count)]
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
