"""The image recipe of the published ALBEF and BLIP models: crops, flips and two random augmentations in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from lavis.common.registry import registry
from lavis.processors.image import ClipImageTrain, ImageProcessor, crop_box, to_pixels
from lavis.settings.declaration import setting

GREY = [128.0, 128.0, 128.0]  # where a moved picture leaves the frame bare
OPERATIONS, CHANCE = 2, 0.5  # operations drawn for a picture, and how likely each drawn one is applied
SHEAR, SHIFT, TURN = 0.15, 5, 15  # magnitude 5 of 10: pixels a pixel, pixels, degrees

Change = Callable[[Image.Image, int], Image.Image]  # (picture, sign) -> picture


def _moved(image: Image.Image, matrix: list[float]) -> Image.Image:
    """The picture under an affine map, given as Pillow's (a, b, c, d, e, f) from output to input, bilinear."""
    fill = tuple(int(value) for value in GREY)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill)


def _turned(image: Image.Image, sign: int) -> Image.Image:
    return F.rotate(image, sign * TURN, InterpolationMode.BILINEAR, fill=GREY)


def _unchanged(image: Image.Image, sign: int) -> Image.Image:
    """Identity; brightness and sharpness as well, whose factor at magnitude 5 is 0.5 * 1.8 + 0.1 = 1."""
    return image


CHANGES: dict[str, Change] = {
    "identity": _unchanged,
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "brightness": _unchanged,
    "sharpness": _unchanged,
    "equalize": lambda image, _: ImageOps.equalize(image),
    "shear_x": lambda image, sign: _moved(image, [1, sign * SHEAR, 0, 0, 1, 0]),
    "shear_y": lambda image, sign: _moved(image, [1, 0, 0, sign * SHEAR, 1, 0]),
    "translate_x": lambda image, sign: _moved(image, [1, 0, sign * SHIFT, 0, 1, 0]),
    "translate_y": lambda image, sign: _moved(image, [1, 0, 0, 0, 1, sign * SHIFT]),
    "rotate": _turned,
}


def augmented(image: Image.Image, draws: torch.Tensor) -> Image.Image:
    """An RGB picture after OPERATIONS changes in the manner of RandAugment (arXiv 1909.13719), magnitude 5 of 10.

    draws: (OPERATIONS, 3) in [0, 1): which change, whether it is applied, its sign.
    """
    names = list(CHANGES)
    for which, whether, side in draws.tolist():
        if whether < CHANCE:
            image = CHANGES[names[int(which * len(names))]](image, 1 if side < 0.5 else -1)
    return image


@registry.register_processor("blip_image_eval")
@dataclass(frozen=True)
class BlipImageEval(ImageProcessor):
    """The whole picture, squeezed to S x S (bicubic), RGB."""

    image_size: int = 384

    def __call__(self, image: Image.Image, generator: torch.Generator | None = None) -> torch.Tensor:
        size = [self.image_size, self.image_size]
        return to_pixels(F.resize(image.convert("RGB"), size, InterpolationMode.BICUBIC))


@registry.register_processor("blip_image_train")
@dataclass(frozen=True)
class BlipImageTrain(ClipImageTrain):
    """Random resized crop, a horizontal flip in half of the cases, `augmented` unless `augment` is false.

    With `flip` false left stays left, for data whose texts tell sides.
    """

    deterministic: ClassVar[bool] = False
    image_size: int = 384
    min_scale: float = 0.5
    max_scale: float = 1.0
    flip: bool = setting(True, "mirror half of the images")
    augment: bool = setting(True, "apply two random changes in the manner of RandAugment")

    def __call__(self, image: Image.Image, generator: torch.Generator | None = None) -> torch.Tensor:
        box = crop_box(image.width, image.height, (self.min_scale, self.max_scale), generator)
        size = [self.image_size, self.image_size]
        cropped = F.resized_crop(image.convert("RGB"), *box, size, InterpolationMode(self.interpolation))
        flips = torch.rand(1, generator=generator).item()
        draws = torch.rand(OPERATIONS, 3, generator=generator)
        if self.flip and flips < 0.5:
            cropped = ImageOps.mirror(cropped)
        return to_pixels(augmented(cropped, draws) if self.augment else cropped)
