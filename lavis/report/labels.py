"""Places the names of points and lines so that they overlap neither each other nor the points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from sklearn.isotonic import isotonic_regression

RADIUS, CLEARANCE = 8.0, 13.0  # of a point with its marker; within which a name would seem to belong to the point
RINGS = (12.0, 17.0, 23.0, 30.0, 38.0, 47.0, 57.0, 68.0, 80.0, 93.0, 107.0, 122.0)
TURNS = (0, 180, 90, 270, 30, 150, 210, 330, 60, 120, 240, 300, 15, 165, 195, 345)  # the preferred ones first


class Spot(NamedTuple):
    """A name's place: its offset from the point, the share of its width to the left of there, if it needs a line."""

    dx: float
    dy: float
    left: float
    far: bool


def text_width(text: str, size: float) -> float:
    """Width in points of bold text in matplotlib's own font, which is wider than most pages' fonts."""
    font = FontProperties(family="DejaVu Sans", weight="bold", size=size)
    return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0]


def spots_of(height: float) -> list[Spot]:
    """Places around a point for names of this height, nearest first."""
    spots = []
    for ring in RINGS:
        for dx, dy in [(math.cos(turn), math.sin(turn)) for turn in map(math.radians, TURNS)]:
            lift = math.copysign(height / 3, dy) if abs(dy) > 0.3 else 0.0
            left = 0.0 if dx > 0.3 else 1.0 if dx < -0.3 else 0.5
            spots.append(Spot(dx * ring, dy * ring + lift, left, ring > RINGS[0]))
    return spots


def boxes_of(spots: Sequence[Spot], point: np.ndarray, width: float, height: float) -> np.ndarray:
    """The box of a name in each spot: left, bottom, right, top. It is vertically centred on the spot."""
    corners = point + np.array([(spot.dx - width * spot.left, spot.dy - height / 2) for spot in spots])
    return np.hstack([corners, corners + (width, height)])


def place_labels(points: np.ndarray, widths: Sequence[float], height: float, bounds: Sequence[float]) -> list[Spot]:
    """A place for every point's name.

    points: (N, 2) in points, y upwards; widths: of the names; height: of a name. Greedy, most crowded points first:
    each name takes the nearest place that is free and within `bounds`, or if there is none, the one with the least
    overlap.
    """
    spots, dots = spots_of(height), np.hstack([points - RADIUS, points + RADIUS])
    around = np.hstack([points - CLEARANCE, points + CLEARANCE])
    taken, placed = dots, {}
    crowd = (np.linalg.norm(points[:, None] - points[None], axis=2) < 45).sum(axis=1)
    for place in np.lexsort((points[:, 0], -crowd)):
        boxes = boxes_of(spots, points[place], widths[place], height)
        ends = np.clip(points[place], boxes[:, :2], boxes[:, 2:])
        lines = points[place] + np.linspace(0.4, 0.95, 5)[:, None] * (ends - points[place])[:, None]  # (spots, 5, 2)
        outside = np.maximum(bounds[:2] - boxes[:, :2], 0) + np.maximum(boxes[:, 2:] - bounds[2:], 0)
        costs = np.arange(len(spots)) + 200 * outside.sum(axis=1) + 5 * overlaps(boxes, taken).sum(axis=1)
        costs += overlaps(boxes, np.delete(around, place, axis=0)).sum(axis=1)
        costs += 10 * _within(lines, np.delete(taken, place, axis=0))
        best = int(costs.argmin())
        placed[int(place)] = spots[best]
        taken = np.vstack([taken, boxes[best], np.hstack([lines[best] - 2, lines[best] + 2])])
    return [placed[place] for place in range(len(points))]


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The areas (M, N) that M boxes (M, 4) share with N others (N, 4)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    return (np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - low).clip(min=0).prod(axis=2)


def _within(lines: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How often the points of each line (M, 5, 2) are within one of the boxes (N, 4)."""
    inside = (lines[:, :, None] > boxes[:, :2]) & (lines[:, :, None] < boxes[:, 2:])
    return inside.all(axis=3).sum(axis=(1, 2))


def spread_out(heights: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """The heights moved apart as little as possible: at least `gap` apart, all from `low` to `high`.

    If there is too little room, they reach beyond `high`.
    """
    order, steps = np.argsort(heights, kind="stable"), gap * np.arange(len(heights))
    moved = np.empty(len(heights))
    moved[order] = isotonic_regression(heights[order] - steps, y_min=low, y_max=max(low, high - steps[-1])) + steps
    return moved
