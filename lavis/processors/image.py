"""Image processors turn a Pillow image into a uint8 tensor (3, S, S). Models normalise it on their device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.processors.base import Processor
from lavis.settings.declaration import setting

F: Any = functional  # takes Pillow's images as well; its annotations name tensors alone
RATIO = (3 / 4, 4 / 3)  # aspect ratios of a random crop, as in torchvision's RandomResizedCrop
ATTEMPTS = 10  # draws before the crop falls back to the centre, as there


@dataclass(frozen=True)
class ImageProcessor(Processor):
    """Base class: the result is a square of `image_size` pixels per side."""

    kind: ClassVar[str] = "image"
    image_size: int = setting(224, "pixels along each side of the result", least=1, most=8192)

    def __call__(self, image: Image.Image, generator: torch.Generator | None = None) -> torch.Tensor:
        """Turn a decoded image into uint8 (3, S, S), RGB, 0 to 255. Random transforms draw from `generator`."""
        raise NotImplementedError


@registry.register_processor("clip_image_eval")
@dataclass(frozen=True)
class ClipImageEval(ImageProcessor):
    """Resize the shorter side to S (bicubic), crop the centre S x S, RGB: open_clip's evaluation transform."""

    def __call__(self, image: Image.Image, generator: torch.Generator | None = None) -> torch.Tensor:
        resized = F.resize(image, self.image_size, InterpolationMode.BICUBIC)
        return to_pixels(F.center_crop(resized, [self.image_size, self.image_size]))


@registry.register_processor("clip_image_train")
@dataclass(frozen=True)
class ClipImageTrain(ImageProcessor):
    """Random resized crop (bicubic) covering `min_scale` to `max_scale` of the area, RGB."""

    deterministic: ClassVar[bool] = False
    min_scale: float = setting(0.9, "least share of the image's area that a crop covers", above=0, most=1)
    max_scale: float = setting(1.0, "greatest share of the image's area that a crop covers", above=0, most=1)

    def __post_init__(self) -> None:
        if self.min_scale > self.max_scale:
            raise ConfigError(f"min_scale ({self.min_scale}) exceeds max_scale ({self.max_scale})")

    def __call__(self, image: Image.Image, generator: torch.Generator | None = None) -> torch.Tensor:
        box = crop_box(image.width, image.height, (self.min_scale, self.max_scale), generator)
        size = [self.image_size, self.image_size]
        return to_pixels(F.resized_crop(image, *box, size, InterpolationMode.BICUBIC))


def to_pixels(image: Image.Image) -> torch.Tensor:
    """Convert an image of any mode to RGB, uint8 (3, H, W)."""
    return F.pil_to_tensor(image.convert("RGB"))


def crop_box(
    width: int, height: int, scale: tuple[float, float], generator: torch.Generator | None
) -> tuple[int, int, int, int]:
    """Draw a random crop (top, left, height, width) in pixels: area share uniform in `scale`, aspect log-uniform.

    The distribution is that of torchvision's RandomResizedCrop, which takes no generator of its own; this one draws
    from `generator` (None: torch's global one).
    """
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    draws = torch.rand(ATTEMPTS, 4, generator=generator, dtype=torch.float64).tolist()
    for share, shape, across, down in draws:
        area = width * height * (scale[0] + share * (scale[1] - scale[0]))
        ratio = math.exp(low + shape * (high - low))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(down * (height - h + 1)), int(across * (width - w + 1)), h, w
    return _centre_box(width, height)


def _centre_box(width: int, height: int) -> tuple[int, int, int, int]:
    w = min(width, max(1, round(height * RATIO[1])))
    h = min(height, max(1, round(width / RATIO[0])))
    return (height - h) // 2, (width - w) // 2, h, w
