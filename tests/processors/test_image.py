"""Image processors: evaluation equals open_clip's transform; the random crop depends only on its generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lavis.common.errors import ConfigError
from lavis.processors.base import build_processor
from lavis.processors.image import ClipImageEval, ClipImageTrain, crop_box


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(pixels, "RGBA").convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK"])
@pytest.mark.parametrize("size", [(50, 90), (90, 50), (32, 32), (20, 31)])
def test_eval_equals_open_clip(mode, size):
    from open_clip.transform import image_transform

    image = noise(*size, mode)
    expected = image_transform(32, is_train=False, mean=(0, 0, 0), std=(1, 1, 1))(image)
    ours = ClipImageEval(32)(image)
    assert ours.shape == (3, 32, 32) and ours.dtype == torch.uint8
    assert torch.equal(ours, (expected * 255).round().to(torch.uint8))


def test_train_depends_only_on_its_generator():
    image, processor = noise(48, 48), ClipImageTrain(24)
    first = processor(image, torch.Generator().manual_seed(1))
    torch.manual_seed(99)
    again = processor(image, torch.Generator().manual_seed(1))
    other = processor(image, torch.Generator().manual_seed(2))
    assert first.shape == (3, 24, 24) and first.dtype == torch.uint8
    assert torch.equal(first, again) and not torch.equal(first, other)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.05, 1), st.floats(0.05, 1), st.integers(0, 99))
def test_crop_stays_inside(width, height, a, b, seed):
    top, left, h, w = crop_box(width, height, (min(a, b), max(a, b)), torch.Generator().manual_seed(seed))
    assert 0 <= top and 0 <= left and 1 <= h and 1 <= w
    assert top + h <= height and left + w <= width


def test_crop_covers_its_share_of_the_area():
    """Shares lie in [0.9, 1] up to rounding of height and width (half a pixel in 400 each)."""
    for seed in range(50):
        _, _, h, w = crop_box(400, 400, (0.9, 1.0), torch.Generator().manual_seed(seed))
        assert 0.89 <= h * w / 400**2 <= 1.0


def test_a_strip_falls_back_to_its_centre():
    """No crop of 100 x 1 pixels has a ratio of at most 4/3 and 90 % of the area, so the centre pixel is taken."""
    assert crop_box(100, 1, (0.9, 1.0), torch.Generator().manual_seed(0)) == (0, 49, 1, 1)


def test_built_from_configuration():
    config = {"name": "clip_image_train", "image_size": 48, "min_scale": 0.5}
    assert build_processor(config, "image", "x") == ClipImageTrain(48, 0.5, 1.0)
    assert not ClipImageTrain.deterministic and ClipImageEval.deterministic
    assert (ClipImageTrain().versions, ClipImageTrain(views=3).versions, ClipImageEval(views=3).versions) == (
        None,
        3,
        1,
    )


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "clip_image_eval", "image_siz": 3}, "unknown key 'key.image_siz'; closest: 'image_size'"),
        ({"name": "clip_image_eval", "image_size": "big"}, "key.image_size must be a whole number, found 'big'"),
        ({"name": "clip_image_eval", "image_size": True}, "must be a whole number, found True"),
        ({"name": "clip_image_eval", "image_size": 0}, "key.image_size must be at least 1"),
        ({"name": "clip_image_train", "min_scale": 0.9, "max_scale": 0.5}, "key.min_scale (0.9) exceeds max"),
        ({"name": "clip_image_evil"}, "closest: 'clip_image_eval'"),
        ({"name": "clip_caption"}, "key.name: 'clip_caption' processes texts"),
        ({"image_size": 3}, "key needs the name of a processor"),
    ],
)
def test_errors_name_the_wrong_argument(config, message):
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace(")", r"\)")):
        build_processor(config, "image", "key")
