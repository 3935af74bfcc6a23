"""Turns a scene into JPEG bytes. Every image has its own random stream, keyed by seed and path."""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

from lavis.synthetic.mini import camera
from lavis.synthetic.mini.objects import outline
from lavis.synthetic.mini.pen import Frame, Pen, palette
from lavis.synthetic.scenes.scene import PLACES, Group, Scene

ACROSS = dict(zip(PLACES, (-0.66, 0.0, 0.66), strict=True))
LEVELS = (-0.62, 0.0, 0.62)  # heights of the three objects that fit into a column
RADIUS = 0.27
BOARD = (112, 104, 98)
JITTER = 0.04


def scene_bytes(scene: Scene, path: str, pixels: int, seed: int) -> bytes:
    """The image of a scene as JPEG bytes. Equal arguments give equal bytes."""
    rng = np.random.default_rng([seed, zlib.crc32(path.encode())])
    return camera.jpeg(draw_scene(scene, pixels, rng))


def draw_scene(scene: Scene, pixels: int, rng: np.random.Generator) -> Image.Image:
    """Draw a scene, (pixels, pixels) RGB. Places, heights, sizes, rotations, ground and light vary a little."""
    ground = tuple(int(value) for value in rng.integers(205, 250, 3))
    image = camera.canvas(pixels, ground)
    for group in scene.groups:
        _column(image, group, rng)
    if scene.hidden:
        x = ACROSS[scene.hidden]
        Pen(image).polygon([(x - 0.32, -0.96), (x + 0.32, -0.96), (x + 0.32, 0.96), (x - 0.32, 0.96)], BOARD)
    return camera.develop(image, rng, strength=0.6)


def _column(image: Image.Image, group: Group, rng: np.random.Generator) -> None:
    for level in sorted(rng.permutation(len(LEVELS))[: group.count]):
        x, y = (ACROSS[group.place], LEVELS[level]) + rng.uniform(-JITTER, JITTER, 2)
        frame = Frame(RADIUS * rng.uniform(0.92, 1.08), rng.uniform(-0.15, 0.15), x, y)
        Pen(image, frame).polygon(outline(group.shape), palette("object")[group.colour])
