"""Image processors of the published ALBEF and BLIP models: random crops, flips and RandAugment in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode

from lavis.common.registry import registry
from lavis.processors.image import ClipImageTrain, F, ImageProcessor, crop_box, to_pixels
from lavis.settings.declaration import setting

GREY = [128.0, 128.0, 128.0]  # fills what a shift, shear or rotation uncovers
DRAWN, PROBABILITY = 2, 0.5  # operations drawn per image, and the probability that a drawn one is applied
SHEAR, SHIFT, ANGLE = 0.15, 5, 15  # magnitude 5 of 10: pixels per pixel, pixels, degrees

Operation = Callable[[Image.Image, int], Image.Image]  # (image, sign) -> image


def _affine(image: Image.Image, matrix: list[float]) -> Image.Image:
    """Transform by an affine map from output to input, Pillow's (a, b, c, d, e, f), bilinear."""
    fill = tuple(int(value) for value in GREY)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill)


def _rotate(image: Image.Image, sign: int) -> Image.Image:
    return F.rotate(image, sign * ANGLE, InterpolationMode.BILINEAR, fill=GREY)


def _identity(image: Image.Image, sign: int) -> Image.Image:
    return image


OPERATIONS: dict[str, Operation] = {
    "identity": _identity,
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "brightness": _identity,  # at magnitude 5 the factor is 0.5 * 1.8 + 0.1 = 1; removing it would change the odds
    "sharpness": _identity,  # the same factor
    "equalize": lambda image, _: ImageOps.equalize(image),
    "shear_x": lambda image, sign: _affine(image, [1, sign * SHEAR, 0, 0, 1, 0]),
    "shear_y": lambda image, sign: _affine(image, [1, 0, 0, sign * SHEAR, 1, 0]),
    "translate_x": lambda image, sign: _affine(image, [1, 0, sign * SHIFT, 0, 1, 0]),
    "translate_y": lambda image, sign: _affine(image, [1, 0, 0, 0, 1, sign * SHIFT]),
    "rotate": _rotate,
}


def apply_operations(image: Image.Image, draws: torch.Tensor) -> Image.Image:
    """Apply DRAWN operations to an RGB image, as RandAugment does (arXiv 1909.13719), at magnitude 5 of 10.

    draws: (DRAWN, 3) in [0, 1). Per row: which operation, whether it is applied, its sign.
    """
    names = list(OPERATIONS)
    for which, whether, sign in draws.tolist():
        if whether < PROBABILITY:
            image = OPERATIONS[names[int(which * len(names))]](image, 1 if sign < 0.5 else -1)
    return image


@registry.register_processor("blip_image_eval")
@dataclass(frozen=True)
class BlipImageEval(ImageProcessor):
    """The whole image squeezed to S x S (bicubic), RGB."""

    image_size: int = 384

    def __call__(self, image: Image.Image, generator: torch.Generator | None = None) -> torch.Tensor:
        size = [self.image_size, self.image_size]
        return to_pixels(F.resize(image.convert("RGB"), size, InterpolationMode.BICUBIC))


@registry.register_processor("blip_image_train")
@dataclass(frozen=True)
class BlipImageTrain(ClipImageTrain):
    """Random resized crop, a horizontal flip half of the time, then `apply_operations`.

    Set `flip` to false for data whose captions mention left and right.
    """

    deterministic: ClassVar[bool] = False
    image_size: int = 384
    min_scale: float = 0.5
    max_scale: float = 1.0
    flip: bool = setting(True, "mirror half of the images")
    augment: bool = setting(True, "apply two random operations of RandAugment")

    def __call__(self, image: Image.Image, generator: torch.Generator | None = None) -> torch.Tensor:
        box = crop_box(image.width, image.height, (self.min_scale, self.max_scale), generator)
        size = [self.image_size, self.image_size]
        cropped = F.resized_crop(image.convert("RGB"), *box, size, InterpolationMode(self.interpolation))
        # Drawn even if unused: without `flip` the operations stay the same.
        flip_draw = torch.rand(1, generator=generator).item()
        draws = torch.rand(DRAWN, 3, generator=generator)
        if self.flip and flip_draw < 0.5:
            cropped = ImageOps.mirror(cropped)
        return to_pixels(apply_operations(cropped, draws) if self.augment else cropped)
