"""Draws objects: ten shapes in eight colours on a light table, for general knowledge and zero-shot classes."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from lavis.synthetic.mini import camera
from lavis.synthetic.mini.pen import Colour, Frame, Pen, arc, ellipse, mix, palette

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "crescent", "arrow", "diamond")
GROUND: Colour = (236, 236, 232)
JITTER = 0.3


def object_caption(colour: str, shape: str) -> str:
    """The caption of an object. There is only one form: with several, small models memorised single images."""
    return f"a photo of {'an' if colour == 'orange' else 'a'} {colour} {shape}"


def outline(shape: str) -> np.ndarray:
    """Outline (n, 2) of a shape, within the unit circle."""
    if shape == "star":
        angles = np.radians(-90 + 36 * np.arange(10))
        return np.stack([np.cos(angles), np.sin(angles)], 1) * np.where(np.arange(10) % 2, 0.42, 1.0)[:, None]
    if shape == "heart":
        t = np.linspace(0, 2 * math.pi, 48)
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([16 * np.sin(t) ** 3, -y - 2.5], 1) / 16.0
    if shape == "crescent":
        return np.concatenate([arc(0, 0, 0.95, 0.95, 60, 300, 30), arc(0.42, 0, 0.80, 0.80, 274, 86, 24)])
    corners = {
        "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
        "triangle": [(0.0, -0.95), (0.95, 0.75), (-0.95, 0.75)],
        "cross": [(-0.3, -0.95), (0.3, -0.95), (0.3, -0.3), (0.95, -0.3), (0.95, 0.3), (0.3, 0.3),
                  (0.3, 0.95), (-0.3, 0.95), (-0.3, 0.3), (-0.95, 0.3), (-0.95, -0.3), (-0.3, -0.3)],
        "arrow": [(-0.95, -0.25), (0.1, -0.25), (0.1, -0.75), (0.98, 0.0), (0.1, 0.75), (0.1, 0.25), (-0.95, 0.25)],
        "diamond": [(0.0, -1.0), (0.62, 0.0), (0.0, 1.0), (-0.62, 0.0)],
    }  # fmt: skip
    return np.asarray(corners[shape]) if shape in corners else ellipse(0.0, 0.0, 0.92, 0.92)


def draw_object(shape: str, colour: str, rng: np.random.Generator, size: int) -> Image.Image:
    """Draw one image of an object, (size, size) RGB, with small jitter of place, scale, rotation and light."""
    image = camera.canvas(size, GROUND)
    Pen(image).polygon([(-1, 0.45), (1, 0.45), (1, 1), (-1, 1)], mix(GROUND, (150, 150, 150), 0.18))
    scale, angle = 0.62 * (1 + 0.35 * JITTER * rng.uniform(-1, 1)), math.radians(30 * JITTER * rng.uniform(-1, 1))
    x, y = 0.4 * JITTER * rng.uniform(-1, 1, 2)
    Pen(image, Frame(scale, 0.0, x, y + scale * 1.0)).ellipse(0.0, 0.0, 0.85, 0.14, mix(GROUND, (90, 90, 90), 0.4))
    pen = Pen(image, Frame(scale, angle, x, y))
    pen.polygon(outline(shape), palette("object")[colour])
    if shape == "ring":
        pen.ellipse(0.0, 0.0, 0.50, 0.50, GROUND)
    return camera.develop(image, rng, strength=2 * JITTER)
