"""From a row of the plan to JPEG bytes; every picture has its own random stream, keyed by seed and path."""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

from lavis.synthetic.mini import camera
from lavis.synthetic.mini.objects import draw_object
from lavis.synthetic.mini.plan import Row
from lavis.synthetic.mini.portraits import draw_portrait


def picture(row: Row, pixels: int, seed: int) -> Image.Image:
    """The picture of a row, (pixels, pixels) RGB. Equal arguments give equal pixels."""
    rng = np.random.default_rng([seed, zlib.crc32(row.image.encode())])
    if row.look is not None:
        return draw_portrait(row.look, rng, pixels)
    return draw_object(row.shape, row.colour, rng, pixels)


def picture_bytes(row: Row, pixels: int, seed: int) -> bytes:
    """The picture of a row as a JPEG."""
    return camera.jpeg(picture(row, pixels, seed))
