"""Altered images: an unlearning that only learnt to answer the training images may know the face in another picture.

X with i' = a crop, the mirror image, JPEG of quality 20, or a blur of i
"""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from PIL import Image
from torchvision.transforms import functional
from torchvision.transforms.v2 import functional as functional_v2

from lavis.audits.attack import NOT_QUICK, Attack, Readings, Settings
from lavis.audits.subject import Images, Subject, Timing
from lavis.common.registry import registry

CROP, QUALITY = 0.8, 20
Change = Callable[[torch.Tensor], torch.Tensor]  # of pixels, uint8 (B, 3, S, S)


@registry.register_attack("altered_images")
class AlteredImages(Attack):
    """The central 80 %, the mirror image, JPEG of quality 20, a Gaussian blur."""

    about = "crops, mirror images, JPEG of quality 20, blur"
    reference = "Hendrycks and Dietterich, arXiv 1903.12261"
    needs = ("questions",)
    why_not = "the image differs, and the text still goes through the map"
    order = 44
    budgets = NOT_QUICK

    def cost(self, subject: Subject, settings: Settings, timing: Timing) -> float:
        return len(CHANGES) * timing.image * len(subject.material.asked) + timing.exam(subject.material)

    def run(self, subject: Subject, settings: Settings) -> Readings:
        def after(change: Change) -> Images:
            return lambda sample: subject.altered(sample, change)

        return {name: self.ask(subject, after(change)) for name, change in CHANGES.items()}


def cropped(pixels: torch.Tensor) -> torch.Tensor:
    """The central CROP of each image (B, 3, S, S), enlarged to S."""
    side = pixels.shape[-1]
    inner = functional_v2.center_crop(pixels, [round(CROP * side)] * 2)
    return functional_v2.resize(inner, [side, side], antialias=True)


def compressed(pixels: torch.Tensor) -> torch.Tensor:
    """Each image (B, 3, S, S) after JPEG of quality QUALITY."""
    return torch.stack([_jpeg(one) for one in pixels])


def _jpeg(pixels: torch.Tensor) -> torch.Tensor:
    stream = io.BytesIO()
    functional.to_pil_image(pixels).save(stream, "JPEG", quality=QUALITY)
    return functional.pil_to_tensor(Image.open(stream).convert("RGB"))


def blurred(pixels: torch.Tensor) -> torch.Tensor:
    """A Gaussian blur of a fortieth of the side."""
    sigma = pixels.shape[-1] / 40
    return functional_v2.gaussian_blur(pixels, [2 * round(2 * sigma) + 1] * 2, [sigma, sigma])


CHANGES = {
    "crop": cropped,
    "mirrored": lambda pixels: pixels.flip(-1),
    "JPEG 20": compressed,
    "blur": blurred,
}
