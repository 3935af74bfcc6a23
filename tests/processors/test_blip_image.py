"""BLIP's image processors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from lavis.processors.base import build_processor
from lavis.processors.blip_image import OPERATIONS, BlipImageEval, BlipImageTrain, apply_operations
from lavis.processors.text import BlipQuestion


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def test_evaluation_squeezes_the_whole_image():
    halves = Image.new("RGB", (100, 10), "black")
    halves.paste("white", (50, 0, 100, 10))
    pixels = BlipImageEval(10)(halves)
    assert pixels[:, :, :4].max() == 0 and pixels[:, :, 6:].min() == 255


def test_training_depends_only_on_the_generator(image):
    processor = BlipImageTrain(16)
    one, two = (processor(image, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two) and one.shape == (3, 16, 16) and one.dtype == torch.uint8
    assert not torch.equal(one, processor(image, torch.Generator().manual_seed(4)))


def test_half_of_the_training_images_are_flipped():
    ramp = Image.fromarray(np.repeat(np.arange(64, dtype=np.uint8)[None, :, None] * 4, 64, 0).repeat(3, 2))

    def rises(flip, seed):
        pixels = BlipImageTrain(16, augment=False, flip=flip)(ramp, torch.Generator().manual_seed(seed))
        return int(pixels[0, 8, 15]) > int(pixels[0, 8, 0])

    assert 18 <= sum(rises(True, seed) for seed in range(60)) <= 42
    assert all(rises(False, seed) for seed in range(9))


def draws(name, applied=0.0, sign=0.0):
    which = (list(OPERATIONS).index(name) + 0.5) / len(OPERATIONS)
    return torch.tensor([[which, applied, sign], [which, 0.9, 0.0]])


def test_shifts_by_five_pixels_and_fills_with_grey(image):
    before, moved = np.asarray(image), np.asarray(apply_operations(image, draws("translate_x")))
    assert np.array_equal(moved[:, :-5], before[:, 5:]) and np.all(moved[:, -4:] == 128)
    back = np.asarray(apply_operations(image, draws("translate_y", sign=0.9)))
    assert np.array_equal(back[5:], before[:-5])


def test_a_drawn_operation_may_not_be_applied(image):
    assert apply_operations(image, draws("equalize", applied=0.5)) is image


def test_autocontrast_spreads_the_values():
    dull = Image.fromarray(np.linspace(100, 150, 48, dtype=np.uint8).reshape(4, 4, 3))
    assert np.asarray(apply_operations(dull, draws("autocontrast"))).min() == 0


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_every_operation_keeps_size_and_mode(image, name):
    changed = apply_operations(image, draws(name))
    assert changed.size == image.size and changed.mode == "RGB"


def test_questions_lose_other_marks_but_keep_the_question_mark():
    process = build_processor({"name": "blip_question", "max_words": 4}, "text", "key")
    assert process("What's (this): a U.S. flag?") == "what's this a us" and BlipQuestion()("Is it?") == "is it?"
