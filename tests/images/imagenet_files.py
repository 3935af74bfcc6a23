"""A few drawn images as ImageNet's validation set in class folders."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from lavis.images.imagenet import wnids

LABELS = [0, 7, 7, 999, 340]


def image_file(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (12, 9, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG" if number % 2 else "PNG")
    return stream.getvalue()


def write_folders(root: Path, labels=LABELS) -> Path:
    for number, label in enumerate(labels):
        file = root / wnids()[label] / f"ILSVRC2012_val_{number:08d}.{'JPEG' if number % 2 else 'png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image_file(number))
    return root
