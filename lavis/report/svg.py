"""Axes, ticks, markers and labels for plots written as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lavis.report.markup import Safe, el
from lavis.report.palette import INK, LINE, MUTED, PAPER, Look

FONT = 13.0
TickText = Callable[[float], str]
CHAR = 0.62  # mean width of a character, in font sizes


def text_width(text: str, size: float = FONT) -> float:
    """Estimated width of a text in user units."""
    return CHAR * size * len(text)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that cover [low, high]; the outer ones are at or beyond the ends."""
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"an axis needs finite ends, got {low} and {high}")
    if high - low < 1e-12 * max(1.0, abs(low), abs(high)):
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def tick_label(value: float) -> str:
    """A tick as short as it can be: 0, −0.25, 100."""
    return "0" if value == 0 else f"{value:.4g}".replace("-", "−", 1)


@dataclass(frozen=True)
class Frame:
    """A plot area in user units: `left`, `top`, `width`, `height`, and the ends of both axes."""

    left: float
    top: float
    width: float
    height: float
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    x_ends: tuple[float, float] | None = None  # None: the outer ticks

    def x(self, value: float) -> float:
        return self.left + self.width * _part(value, self.x_ends or self.x_ticks)

    def y(self, value: float) -> float:
        return self.top + self.height * (1.0 - _part(value, self.y_ticks))

    def grid(
        self, x_title: str, y_title: str, x_text: TickText = tick_label, y_text: TickText = tick_label
    ) -> list[Safe]:
        """Hairlines, tick labels and axis titles."""
        bottom, right = self.top + self.height, self.left + self.width
        parts = []
        for value in self.y_ticks:
            parts.append(line(self.left, self.y(value), right, self.y(value), LINE))
            parts.append(label(y_text(value), self.left - 7, self.y(value) + 4, MUTED, "end", 11.5))
        for value in self.x_ticks:
            parts.append(line(self.x(value), bottom, self.x(value), bottom + 4, MUTED))
            parts.append(label(x_text(value), self.x(value), bottom + 18, MUTED, "middle", 11.5))
        parts.append(line(self.left, bottom, right, bottom, MUTED))
        parts.append(label(x_title, self.left + self.width / 2, bottom + 38, INK, "middle"))
        parts.append(label(y_title, 0, self.top - 16, INK, "start"))
        return parts


def _part(value: float, ticks: Sequence[float]) -> float:
    return (value - ticks[0]) / ((ticks[-1] - ticks[0]) or 1.0)


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1.0, dash: str | None = None) -> Safe:
    return el(
        "line",
        x1=float(x1),
        y1=float(y1),
        x2=float(x2),
        y2=float(y2),
        stroke=colour,
        stroke_width=width,
        stroke_dasharray=dash,
    )


def label(
    text: str, x: float, y: float, colour: str = INK, anchor: str = "start", size: float = FONT, weight=None
) -> Safe:
    return el("text", text, x=float(x), y=float(y), fill=colour, text_anchor=anchor, font_size=size, font_weight=weight)


def figure_svg(width: float, height: float, title: str, parts: Sequence[Safe]) -> Safe:
    """An SVG that scales with its column; `title` is what a screen reader says."""
    return el(
        "svg",
        el("title", title),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=title,
        class_="plot",
        xmlns="http://www.w3.org/2000/svg",
    )


def marker(look: Look, x: float, y: float, radius: float, tip: str, opacity: float | None = None) -> Safe:
    """A marker of a model's shape and colour; `tip` shows when pointed at."""
    style = {
        "fill": look.colour if look.filled else PAPER,
        "stroke": PAPER if look.filled else look.colour,
        "stroke_width": 1.2 if look.filled else 2.2,
        "opacity": opacity,
    }
    name = el("title", tip) if tip else None
    if look.shape == "circle":
        return el("circle", name, cx=float(x), cy=float(y), r=float(radius), **style)
    points = " ".join(f"{x + radius * dx:.2f},{y + radius * dy:.2f}" for dx, dy in outline(look.shape))
    return el("polygon", name, points=points, **style)


def outline(shape: str) -> list[tuple[float, float]]:
    """Corners of a marker of radius one, y downwards."""
    if shape == "star":
        spikes = [(1.35 if k % 2 == 0 else 0.6, math.pi * (k / 5 - 0.5)) for k in range(10)]
        return [(r * math.cos(a), r * math.sin(a)) for r, a in spikes]
    corners, size, turn = {
        "diamond": (4, 1.25, 0.0),
        "square": (4, 1.25, 0.25 * math.pi),
        "triangle": (3, 1.3, -0.5 * math.pi),
        "wedge": (3, 1.3, 0.5 * math.pi),
        "pentagon": (5, 1.15, -0.5 * math.pi),
    }[shape]
    angles = [turn + 2 * math.pi * k / corners for k in range(corners)]
    return [(size * math.cos(a), size * math.sin(a)) for a in angles]


def key_svg(look: Look) -> Safe:
    """A model's marker as a small picture within text."""
    return el(
        "svg", marker(look, 8, 8, 5.2, ""), viewBox="0 0 16 16", width=13, height=13, class_="key", aria_hidden="true"
    )
