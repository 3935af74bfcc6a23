"""The camera: adds light, tint and noise to a drawing and encodes it as JPEG."""

from __future__ import annotations

import functools
import io
import math

import numpy as np
from PIL import Image

JPEG = {"format": "JPEG", "quality": 92, "subsampling": 0}
SUPERSAMPLE = 2
_NOISE_TILES = 32


@functools.cache
def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    line = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    return np.meshgrid(line, line)


@functools.cache
def _noise(size: int) -> np.ndarray:
    """Noise tiles (n, size, size, 1) with standard deviation 1, the same for every data set."""
    return np.random.default_rng(7).standard_normal((_NOISE_TILES, size, size, 1)).astype(np.float32)


def canvas(size: int, colour) -> Image.Image:
    """A blank image to draw on, SUPERSAMPLE times the final size so that edges come out smooth."""
    return Image.new("RGB", (size * SUPERSAMPLE, size * SUPERSAMPLE), colour)


def _light(size: int, rng: np.random.Generator, strength: float) -> np.ndarray:
    """A linear ramp of light from a random direction, (size, size, 1), around 1."""
    x, y = _grid(size)
    angle, ramp = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.04, 0.22) * strength
    level = 1.0 + rng.uniform(-0.10, 0.08) * strength
    return (level + ramp * (math.cos(angle) * x + math.sin(angle) * y))[..., None].astype(np.float32)


def develop(drawing: Image.Image, rng: np.random.Generator, strength: float = 1.0) -> Image.Image:
    """Reduce the canvas to its final size and add light, tint and noise (strength 0 adds none)."""
    small = np.asarray(drawing.reduce(SUPERSAMPLE), dtype=np.float32)
    size = small.shape[0]
    tint = 1.0 + rng.uniform(-0.05, 0.05, 3).astype(np.float32) * strength
    tile = np.roll(_noise(size)[rng.integers(_NOISE_TILES)], tuple(rng.integers(size, size=2)), axis=(0, 1))
    noise = tile * np.float32(rng.uniform(1.0, 5.0) * strength)
    values = small * (_light(size, rng, strength) * tint) + noise
    return Image.fromarray(np.clip(values, 0.0, 255.0).astype(np.uint8))


def jpeg(image: Image.Image) -> bytes:
    """Encode an image as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, **JPEG)
    return buffer.getvalue()
