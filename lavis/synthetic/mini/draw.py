"""Turns a row of the plan into JPEG bytes. Every image has its own random stream, keyed by seed and path."""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

from lavis.synthetic.mini import camera
from lavis.synthetic.mini.objects import draw_object
from lavis.synthetic.mini.plan import Row
from lavis.synthetic.mini.portraits import draw_portrait


def draw(row: Row, pixels: int, seed: int) -> Image.Image:
    """Draw the image of a row, (pixels, pixels) RGB. Equal arguments give equal pixels."""
    rng = np.random.default_rng([seed, zlib.crc32(row.image.encode())])
    if row.look is not None:
        return draw_portrait(row.look, rng, pixels)
    return draw_object(row.shape, row.colour, rng, pixels)


def image_bytes(row: Row, pixels: int, seed: int) -> bytes:
    """The image of a row as JPEG bytes."""
    return camera.jpeg(draw(row, pixels, seed))
