"""A look at every image's header before a run: which cannot be read, and which lose something when they become RGB.

Images are read as open_clip reads them: converted to RGB, whatever they were. The losses are counted and logged once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from PIL import Image
from tqdm import tqdm

from lavis.images.store import BROKEN, FORMATS, ImageStore

ORIENTATION = 0x0112  # EXIF tag; 1 is upright
UNREADABLE = "the image cannot be read"
GREY16 = "16-bit grey, of which only the darkest 256 levels are kept and the rest becomes white: convert to 8 bits"
ALPHA = "transparency, which is dropped: what lies under transparent pixels is seen"
CMYK = "CMYK colours, which are converted without their colour profile"
ROTATED = "an EXIF orientation, which is ignored: the image is seen as it is stored"


@dataclass
class Inspection:
    """What the headers say: {image: reason} of those that cannot be read, and how many images lose what."""

    unreadable: dict[str, str] = field(default_factory=dict)
    losses: Counter[str] = field(default_factory=Counter)

    def sentences(self) -> list[str]:
        """One sentence per kind of loss."""
        return [f"{count} images have {loss}" for loss, count in sorted(self.losses.items())]


def inspect_images(store: ImageStore, images: Sequence[str], threads: int = 4) -> Inspection:
    """Read the headers of these images, which exist."""
    result = Inspection()
    with ThreadPoolExecutor(threads) as pool:
        progress = tqdm(
            pool.map(lambda image: _look(store, image), images),
            total=len(images),
            desc="looking at images",
            unit="image",
            disable=None,
        )
        for image, (reason, losses) in zip(images, progress, strict=True):
            if reason:
                result.unreadable[image] = reason
            result.losses.update(losses)
    return result


def _look(store: ImageStore, image: str) -> tuple[str, list[str]]:
    """Why an image cannot be read ("" if it can), and what it loses."""
    try:
        with Image.open(store.source(image), formats=FORMATS) as file:
            orientation = file.getexif().get(ORIENTATION, 1)
            modes = {GREY16: file.mode.startswith("I"), CMYK: file.mode == "CMYK", ROTATED: orientation != 1}
            modes[ALPHA] = file.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in file.info
            return "", [loss for loss, present in modes.items() if present]
    except (*BROKEN, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return f"{UNREADABLE}: {type(error).__name__}", []
