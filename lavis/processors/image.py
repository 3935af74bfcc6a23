"""Image processors turn a Pillow image into a uint8 tensor (3, S, S). Models normalise it on their device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, functional
from torchvision.transforms.v2 import functional as functional_v2

from lavis.common.errors import ConfigError, DataError
from lavis.common.registry import registry
from lavis.processors.base import Processor
from lavis.settings.declaration import setting

F: Any = functional  # takes Pillow's images as well; its annotations name tensors alone
RATIO = (3 / 4, 4 / 3)  # aspect ratios of a random crop, as in torchvision's RandomResizedCrop
ATTEMPTS = 10  # draws before the crop falls back to the centre, as there
INTERPOLATIONS = ("bicubic", "bilinear")
DRAFTS = (8, 4, 2)  # a JPEG's decoder can divide its sides by these
ENOUGH = 2  # pixels of a draft for each pixel of the result, at least: resizing then still averages
OPEN_CLIP, TRANSFORMERS = LIBRARIES = ("open_clip", "transformers")


@dataclass(frozen=True)
class ImageProcessor(Processor):
    """Base class: the result is a square of `image_size` pixels per side."""

    kind: ClassVar[str] = "image"
    image_size: int = setting(224, "pixels along each side of the result", least=1, most=8192)
    views: int | None = setting(
        None,
        "draw this many random crops of an image and use them in turn; null: a new one in every epoch; processors that "
        "draw nothing ignore it",
        kw_only=True,
        least=1,
        most=1000,
    )
    draft: bool = setting(
        False,
        "decode large JPEGs at 1/2, 1/4 or 1/8 of their size, with at least 2 pixels left for each of the result along "
        "both sides; faster, and pixels differ a little",
        kw_only=True,
    )

    @property
    def versions(self) -> int | None:
        """How many results an image has in a run, used in turn by its epochs; None: another one in every epoch."""
        return 1 if self.deterministic else self.views

    def __call__(self, image: Image.Image, generator: torch.Generator | None = None) -> torch.Tensor:
        """Turn a decoded image into uint8 (3, S, S), RGB, 0 to 255. Random transforms draw from `generator`."""
        raise NotImplementedError

    def resized(self, height: int, width: int) -> list[int]:
        """The [height, width] that an image is resized to before it is cropped."""
        return [self.image_size, self.image_size]

    def magnified(self, height: int, width: int) -> float:
        """How many pixels of the result one pixel of such an image becomes along a side, at most."""
        return max(new / old for new, old in zip(self.resized(height, width), (height, width), strict=True))

    def shrink(self, file: Image.Image) -> None:
        """With `draft`, let an image that is opened and not loaded yet be decoded smaller, if it is a large JPEG."""
        if not self.draft or file.format != "JPEG":
            return
        most = 1 / (ENOUGH * self.magnified(file.height, file.width))
        divisor = next((divisor for divisor in DRAFTS if divisor <= most), 1)
        if divisor > 1:  # rounded down: Pillow divides by the largest that leaves at least this size
            file.draft(None, (file.width // divisor, file.height // divisor))

    def refusal(self, height: int, width: int) -> str:
        """Why an image of this size cannot be processed; empty if it can.

        A strip of 20,000 x 1 pixels is a file of 138 bytes; with 224 pixels on its short side it has 10⁹ of them.
        """
        high, wide = self.resized(height, width)
        if high * wide <= (Image.MAX_IMAGE_PIXELS or math.inf):
            return ""
        return f"its {width} x {height} pixels would become {wide} x {high} before they are cropped"


@registry.register_processor("clip_image_eval")
@dataclass(frozen=True)
class ClipImageEval(ImageProcessor):
    """The evaluation transform of the model's library, to the last bit.

    The libraries differ: open_clip resizes with Pillow and converts to RGB afterwards; transformers converts first,
    with white where an image is transparent, and resizes with torchvision, which is off by a grey level here and there.
    """

    interpolation: str = setting("bicubic", "how pixels are resampled", choices=INTERPOLATIONS)
    resize_mode: str = setting(
        "shortest",
        "shortest: that side becomes S, then the centre is cropped; longest: that side does, then bars are added; "
        "squash: both sides do",
        choices=("shortest", "longest", "squash"),
    )
    fill_color: int = setting(0, "grey level of the bars that resize_mode=longest adds", least=0, most=255)
    library: str = setting(OPEN_CLIP, "the library whose transform this is", choices=LIBRARIES)

    def __post_init__(self) -> None:
        if self.library == TRANSFORMERS and self.resize_mode == "longest":
            raise ConfigError(
                "resize_mode is longest, which library=transformers does not have; use shortest or squash"
            )

    def __call__(self, image: Image.Image, generator: torch.Generator | None = None) -> torch.Tensor:
        reason = self.refusal(image.height, image.width)
        if reason:
            raise DataError(reason)
        if self.library == TRANSFORMERS:
            return self._by_torchvision(to_pixels(over_white(image)))
        side, mode = self.image_size, InterpolationMode(self.interpolation)
        if self.resize_mode == "squash":
            return to_pixels(F.resize(image, [side, side], mode))
        if self.resize_mode == "shortest":
            return to_pixels(F.center_crop(F.resize(image, side, mode), [side, side]))
        ratio = max(image.height / side, image.width / side)
        size = [round(length / ratio) for length in (image.height, image.width)]
        return to_pixels(framed(F.resize(image, size, mode), side, self.fill_color))

    def resized(self, height: int, width: int) -> list[int]:
        if self.resize_mode != "shortest":
            return super().resized(height, width)
        return [int(self.image_size * length / min(height, width)) for length in (height, width)]

    def _by_torchvision(self, pixels: torch.Tensor) -> torch.Tensor:
        side, (height, width) = self.image_size, pixels.shape[-2:]
        size = self.resized(height, width)
        resized = functional_v2.resize(pixels, size, InterpolationMode(self.interpolation), antialias=True)
        top, left = (size[0] - side) // 2, (size[1] - side) // 2
        return resized[:, top : top + side, left : left + side].contiguous()


@registry.register_processor("clip_image_train")
@dataclass(frozen=True)
class ClipImageTrain(ImageProcessor):
    """Random resized crop covering `min_scale` to `max_scale` of the area, RGB.

    With `views`, what does not change while a run trains (the teacher's embeddings, layers that are not trained) can be
    computed once for each crop.
    """

    deterministic: ClassVar[bool] = False
    min_scale: float = setting(0.9, "least share of the image's area that a crop covers", above=0, most=1)
    max_scale: float = setting(1.0, "greatest share of the image's area that a crop covers", above=0, most=1)
    interpolation: str = setting("bicubic", "how pixels are resampled", choices=INTERPOLATIONS)

    def __post_init__(self) -> None:
        if self.min_scale > self.max_scale:
            raise ConfigError(f"min_scale ({self.min_scale}) exceeds max_scale ({self.max_scale})")

    def magnified(self, height: int, width: int) -> float:
        """As of the smallest crop that can be drawn."""
        least = math.sqrt(self.min_scale * height * width * RATIO[0])
        return self.image_size / min(least, height, width)

    def __call__(self, image: Image.Image, generator: torch.Generator | None = None) -> torch.Tensor:
        box = crop_box(image.width, image.height, (self.min_scale, self.max_scale), generator)
        size = [self.image_size, self.image_size]
        return to_pixels(F.resized_crop(image, *box, size, InterpolationMode(self.interpolation)))


def to_pixels(image: Image.Image) -> torch.Tensor:
    """Convert an image of any mode to RGB, uint8 (3, H, W)."""
    return F.pil_to_tensor(image.convert("RGB"))


def over_white(image: Image.Image) -> Image.Image:
    """The image on a white background where it is transparent."""
    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image
    background = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(background, image.convert("RGBA"))


def framed(image: Image.Image, side: int, fill: int) -> Image.Image:
    """The image, no side longer than `side`, in the middle of a square of `side` pixels filled with `fill`."""
    across, down = side - image.width, side - image.height
    return F.pad(image, [across // 2, down // 2, (across + 1) // 2, (down + 1) // 2], fill=fill)


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
