"""A pen that draws in units of the image: x and y run from -1 to 1, y points down."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

_ARC = np.linspace(0.0, 2.0 * math.pi, 32, endpoint=False)
_CIRCLE = np.stack([np.cos(_ARC), np.sin(_ARC)], axis=1)


@dataclass(frozen=True, slots=True)
class Frame:
    """Scale, rotation (radians) and shift from a figure's own units to the image's."""

    scale: float = 1.0
    angle: float = 0.0
    x: float = 0.0
    y: float = 0.0

    def to_pixels(self, points: np.ndarray, half: float) -> list[float]:
        """Map points (n, 2) of the figure to pixels [x, y, x, y, ...] of an image that is 2 * half wide."""
        places = np.ascontiguousarray(points, dtype=np.float64).view(np.complex128)
        turn = cmath.rect(self.scale * half, self.angle)
        return (places * turn + complex((self.x + 1.0) * half, (self.y + 1.0) * half)).view(np.float64).ravel().tolist()


class Pen:
    """Fills polygons and ellipses and draws strokes on an RGB (or L) image, through a Frame."""

    def __init__(self, image: Image.Image, frame: Frame | None = None) -> None:
        self.image = image
        self.frame = frame or Frame()
        self._draw = ImageDraw.Draw(image)
        self._half = image.width / 2.0

    def polygon(self, points, fill) -> None:
        """Filled polygon through the points (n, 2)."""
        self._draw.polygon(self.frame.to_pixels(points, self._half), fill=fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill) -> None:
        """Filled ellipse around (x, y)."""
        self.polygon(ellipse(x, y, rx, ry), fill)

    def stroke(self, points, width: float, fill) -> None:
        """Open line of the given width, in units."""
        pixel_width = max(1, round(width * self.frame.scale * self._half))
        self._draw.line(self.frame.to_pixels(points, self._half), fill=fill, width=pixel_width, joint="curve")

    def ring(self, x: float, y: float, rx: float, ry: float, width: float, fill) -> None:
        """Outline of an ellipse."""
        outline = ellipse(x, y, rx, ry)
        self.stroke(np.concatenate([outline, outline[:2]]), width, fill)


def ellipse(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    """Outline of an ellipse as 32 points (32, 2)."""
    return _CIRCLE * (rx, ry) + (x, y)


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float, n: int = 16) -> np.ndarray:
    """Points (n, 2) on an ellipse from start to end, in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, end, n))
    points = np.empty((n, 2))
    points[:, 0], points[:, 1] = x + rx * np.cos(angles), y + ry * np.sin(angles)
    return points


@cache
def palette(kind: str) -> dict[str, Colour]:
    """The colours of one kind of thing (skin, hair, ...) by name, from palettes.yaml."""
    content = yaml.safe_load(Path(__file__).with_name("palettes.yaml").read_text(encoding="utf-8"))
    return {name: (red, green, blue) for name, (red, green, blue) in content[kind].items()}


def shade(colour: Colour, factor: float) -> Colour:
    """Darker (factor < 1) or lighter (factor > 1, towards white) variant of a colour."""
    if factor <= 1.0:
        return _rounded(c * factor for c in colour)
    return _rounded(c + (255 - c) * (factor - 1.0) for c in colour)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Colour between a (share 0) and b (share 1)."""
    return _rounded(p + (q - p) * share for p, q in zip(a, b, strict=True))


def _rounded(channels: Iterable[float]) -> Colour:
    red, green, blue = map(round, channels)
    return red, green, blue
