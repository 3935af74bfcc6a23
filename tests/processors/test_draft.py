"""Draft decoding: only large JPEGs, never too small for the result, and no trace of it where it is off."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from lavis.datasets.annotations import Entry
from lavis.datasets.pairs import PairDataset
from lavis.images.pixel_cache import Caching
from lavis.images.store import ImageStore
from lavis.processors.blip_image import BlipImageEval, BlipImageTrain
from lavis.processors.image import DRAFTS, ClipImageEval, ClipImageTrain, ImageProcessor, crop_box
from lavis.processors.text import ClipCaption

SIDE = 16
PROCESSORS = [
    ClipImageEval(SIDE, draft=True),
    ClipImageEval(SIDE, resize_mode="squash", draft=True),
    ClipImageEval(SIDE, resize_mode="longest", draft=True),
    ClipImageEval(SIDE, library="transformers", draft=True),
    ClipImageTrain(SIDE, draft=True),
    ClipImageTrain(SIDE, min_scale=0.1, draft=True),
    BlipImageEval(SIDE, draft=True),
    BlipImageTrain(SIDE, draft=True),
]
names = [f"{type(p).__name__}{i}" for i, p in enumerate(PROCESSORS)]


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Soft shapes, as in a photograph: noise would be another image at half its size."""
    noise = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise).filter(ImageFilter.GaussianBlur(max(width, height) / 32)).convert(mode)


def stored(image: Image.Image, kind: str = "JPEG", **options: object) -> Image.Image:
    """The image as a file that is opened and not loaded."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    stream.seek(0)
    return Image.open(stream)


def drafted(processor: ImageProcessor, width: int, height: int, kind: str = "JPEG") -> tuple[int, int]:
    """The (width, height) at which the processor lets a plain image of this size be decoded."""
    file = stored(Image.new("RGB", (width, height)), kind)
    processor.shrink(file)
    file.load()
    return file.size


def divided(width: int, height: int, divisor: int) -> tuple[int, int]:
    return -(-width // divisor), -(-height // divisor)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(PROCESSORS), st.integers(1, 700), st.integers(1, 700))
def test_twice_the_needed_pixels_are_left_and_no_more_than_that_is_asked(processor, width, height):
    small = drafted(processor, width, height)
    divisor = next(d for d in (1, *DRAFTS) if divided(width, height, d) == small)
    if isinstance(processor, ClipImageTrain):
        least = min((processor.min_scale * width * height * 0.75) ** 0.5, width, height)  # of any crop's sides
        enough = [d for d in DRAFTS if least / d >= 2 * SIDE]
    else:
        needed = processor.resized(height, width)
        enough = [d for d in DRAFTS if height / d >= 2 * needed[0] and width / d >= 2 * needed[1]]
    assert divisor == max(enough, default=1)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 900), st.integers(1, 900), st.floats(0.05, 1), st.integers(0, 2**32))
def test_every_crop_of_a_draft_has_twice_the_pixels_of_the_result(width, height, least, seed):
    processor = ClipImageTrain(SIDE, min_scale=least, draft=True)
    small = drafted(processor, width, height)
    if small != (width, height):
        _, _, h, w = crop_box(*small, (least, 1.0), torch.Generator().manual_seed(seed))
        assert min(h, w) >= 2 * SIDE


@pytest.mark.parametrize("processor", PROCESSORS, ids=names)
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_other_formats_are_decoded_whole(processor, kind):
    assert drafted(processor, 512, 512, kind) == (512, 512) != drafted(processor, 512, 512)


@pytest.mark.parametrize("processor", PROCESSORS, ids=names)
@pytest.mark.parametrize("size", [(63, 700), (48, 48), (16, 16), (1, 1)])
def test_small_jpegs_have_the_same_pixels(processor, size):
    if isinstance(processor, BlipImageEval) or getattr(processor, "resize_mode", "shortest") != "shortest":
        size = (min(size), min(size))  # the sides are scaled apart, so that a long one may be enough
    image = photo(*size)
    assert torch.equal(
        *(pixels(with_or_without, image) for with_or_without in (processor, replace(processor, draft=False)))
    )


@pytest.mark.parametrize("processor", PROCESSORS, ids=names)
def test_it_is_off_by_default_and_then_changes_nothing(processor):
    plain = type(processor)(SIDE)
    file = stored(photo(600, 600))
    plain.shrink(file)
    assert not plain.draft and file.size == (600, 600)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("processor", PROCESSORS, ids=names)
def test_large_jpegs_stay_close(processor, mode, progressive):
    """A soft image: the 8 x 8 blocks that a draft averages differ little from those that resizing averages."""
    image = photo(480, 360, mode)
    one, other = (
        pixels(p, image, progressive=progressive).float() for p in (processor, replace(processor, draft=False))
    )
    assert 0 < (one - other).abs().mean() < 2


def pixels(processor: ImageProcessor, image: Image.Image, **options: object) -> torch.Tensor:
    file = stored(image, **options)  # type: ignore[arg-type]
    processor.shrink(file)
    return processor(file, torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("large")
    for number, (width, height) in enumerate([(256, 256), (640, 150), (40, 40)]):
        photo(width, height).save(folder / f"{number}.jpg")
    photo(256, 256).save(folder / "3.png")
    return folder


@pytest.mark.parametrize("processor", PROCESSORS, ids=names)
def test_a_data_set_decodes_drafts_cached_or_not(root, tmp_path, processor):
    entries = [Entry(path.name, ("c",)) for path in sorted(root.iterdir())]
    store, sets = ImageStore(root), {}
    for draft, cached in itertools.product((False, True), repeat=2):
        caching = Caching("disk", str(tmp_path)) if cached else Caching()
        one = replace(processor, draft=draft)
        dataset = PairDataset(entries, store, one, ClipCaption(), seed=5, cache=caching)
        sets[draft, cached] = dataset.images(range(4), 2)
        if cached:  # a second look, at what is cached
            assert torch.equal(dataset.images(range(4), 2), sets[draft, cached])
    assert torch.equal(sets[False, False], sets[False, True]) and torch.equal(sets[True, False], sets[True, True])
    changed = [not torch.equal(a, b) for a, b in zip(sets[False, False], sets[True, False], strict=True)]
    assert changed[0] and changed[2:] == [False, False]
    assert len(list(tmp_path.glob("*/about.json"))) == (2 if processor.deterministic else 0)  # a cache each
