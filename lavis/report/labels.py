"""Where to write the names of points and lines so that they meet neither each other nor the points."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lavis.report.svg import FONT, text_width

Box = tuple[float, float, float, float]
Spot = tuple[float, float, str]
RADIUS = 9.0
RINGS = (13.0, 22.0, 34.0, 48.0, 64.0, 82.0, 102.0, 124.0)
DIRECTIONS = 16


def place_labels(points: Sequence[Spot], bounds: Box, size: float = FONT) -> list[Spot]:
    """Where to write each point's name so that names meet neither points nor each other.

    points: (x, y, name). Returns (x, y of the base line, text-anchor) for each. Greedy, the most crowded points
    first: each name takes the nearest place around its point that is free and inside `bounds` (left, top, right,
    bottom); where none is, the place that overlaps least. A place may be far: see `leader`.
    """
    taken: list[Box] = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y, _ in points]
    placed: dict[int, Spot] = {}
    for place in sorted(range(len(points)), key=lambda i: (-_crowd(points[i], points), points[i][0])):
        x, y, text = points[place]
        wide = text_width(text, size)
        spots = list(_spots(x, y, size))
        costs = [(_cost(box_of(spot, wide, size), taken, bounds) + order, order) for order, spot in enumerate(spots)]
        placed[place] = spots[min(costs)[1]]
        taken.append(box_of(placed[place], wide, size))
    return [placed[place] for place in range(len(points))]


def leader(point: Spot, spot: Spot, size: float = FONT) -> tuple[float, float, float, float] | None:
    """The line from a point's marker to a name that stands apart from it; None where it stands beside it."""
    wide = text_width(point[2], size)
    left, top, right, bottom = box_of(spot, wide, size)
    end = min(max(point[0], left), right), min(max(point[1], top), bottom)
    away = math.dist(end, point[:2])
    if away < RADIUS + 8:
        return None
    share = RADIUS / away
    return point[0] + (end[0] - point[0]) * share, point[1] + (end[1] - point[1]) * share, *end


def spread_out(places: Sequence[float], gap: float, floor: float) -> list[float]:
    """The same heights moved apart so that neighbours are at least `gap` away, none far below `floor`."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    for above, below in zip(order, order[1:], strict=False):
        moved[below] = max(moved[below], moved[above] + gap)
    over = max([moved[i] - floor for i in order[-1:]] + [0.0])
    for place in reversed(order):
        moved[place] = min(moved[place], floor - gap * (len(order) - 1 - order.index(place))) if over else moved[place]
    return moved


def _crowd(point: Spot, points: Sequence[Spot]) -> int:
    return sum(math.dist(point[:2], other[:2]) < 45 for other in points)


def _spots(x: float, y: float, size: float) -> list[Spot]:
    """Places around a point, the preferred ones first: right, left, above, below, then ring by ring."""
    spots = []
    for ring in RINGS:
        for turn in _turns():
            dx, dy = math.cos(turn) * ring, math.sin(turn) * ring
            anchor = "start" if dx > ring * 0.3 else "end" if dx < -ring * 0.3 else "middle"
            base = size * (0.35 if abs(dy) < ring * 0.3 else 0.75 if dy > 0 else 0.0)
            spots.append((x + dx, y + dy + base, anchor))
    return spots


def _turns() -> list[float]:
    """Directions, the sides and then above and below before the slanted ones."""
    step = 2 * math.pi / DIRECTIONS
    turns = [place * step for place in range(DIRECTIONS)]
    return sorted(turns, key=lambda turn: (round(min(abs(math.sin(turn)), 1.2 * abs(math.cos(turn)) + 0.1), 3), turn))


def _cost(box: Box, taken: Sequence[Box], bounds: Box) -> float:
    sides = (bounds[0] - box[0], bounds[1] - box[1], box[2] - bounds[2], box[3] - bounds[3])
    return sum(overlap(box, other) for other in taken) * 4 + 200 * sum(max(0.0, side) for side in sides)


def box_of(spot: Spot, wide: float, size: float) -> Box:
    """What a text at a spot covers: left, top, right, bottom."""
    x, y, anchor = spot
    left = x - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
    return left, y - size * 0.8, left + wide, y + size * 0.25


def overlap(a: Box, b: Box) -> float:
    """The area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
