"""Drawings: every look and object can be drawn, what is described is visible, equal seeds give equal pixels."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lavis.synthetic.mini import looks
from lavis.synthetic.mini.camera import develop, jpeg
from lavis.synthetic.mini.layout import draw, image_bytes
from lavis.synthetic.mini.looks import Look, describe, difference, random_look, redress
from lavis.synthetic.mini.objects import GROUND, SHAPES, draw_object
from lavis.synthetic.mini.pen import Frame, Pen, palette
from lavis.synthetic.mini.plan import make_plan
from lavis.synthetic.mini.portraits import draw_portrait
from lavis.synthetic.mini.variants import SIZES

PLAIN = Look("light", "brown", "short", "blue", None, None, None, "red", False, "shirt", "green", "plain", "sky")
CHANGES = [
    *({"style": style} for style in looks.STYLES[1:]),
    *({"glasses": glasses} for glasses in looks.GLASSES[1:]),
    *({"beard": beard} for beard in looks.BEARDS[1:]),
    *({"hat": hat} for hat in looks.HATS[1:]),
    *({"pattern": pattern} for pattern in looks.PATTERNS[1:]),
    {"hair": "pink"},
    {"clothes": "purple"},
    {"garment": "hoodie"},
    {"garment": "t-shirt"},
    {"background": "navy"},
]
looks_drawn = st.integers(0, 2**32 - 1).map(lambda seed: random_look(np.random.default_rng(seed)))


def pixels(look: Look, seed: int = 5) -> np.ndarray:
    return np.asarray(draw_portrait(look, np.random.default_rng(seed), 64), dtype=int)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_described_attributes_are_visible(change):
    other = replace(PLAIN, **change)
    assert describe(other) != describe(PLAIN)
    changed = np.abs(pixels(other) - pixels(PLAIN)).max(axis=2) > 24
    assert changed.sum() >= 12


@settings(deadline=None, max_examples=25)
@given(looks_drawn)
def test_any_look_is_drawn_and_described(look):
    image = draw_portrait(look, np.random.default_rng(0), 64)
    assert (image.size, image.mode) == ((64, 64), "RGB")
    text = describe(look)
    for word in (look.hair, look.clothes, look.garment, look.pattern, f"{look.background} background"):
        assert word in text
    assert (look.hat or "no hat") in text or look.hat is None
    assert "a orange" not in text


@settings(deadline=None, max_examples=25)
@given(looks_drawn, looks_drawn)
def test_difference_is_a_distance(a, b):
    assert difference(a, b) == difference(b, a)
    assert difference(a, a) == 0
    dressed = redress(a, np.random.default_rng(1))
    assert difference(a, dressed, looks.FACE_FIELDS) == 0


def test_skin_is_never_described():
    texts = {describe(replace(PLAIN, skin=skin)) for skin in palette("skin")}
    assert len(texts) == 1


def test_hats_hide_spikes_and_buns_from_the_description():
    hidden = replace(PLAIN, style="bun", hat="cap", hat_colour="orange")
    assert describe(hidden) == (
        "a portrait of a person with brown hair, wearing an orange cap and a plain green shirt, sky background"
    )


@pytest.mark.parametrize(("shape", "colour"), list(itertools.product(SHAPES, palette("object"))))
def test_every_object_shows_its_colour_in_the_middle_or_around_it(shape, colour):
    image = np.asarray(draw_object(shape, colour, np.random.default_rng(3), 64), dtype=int)
    inked = np.abs(image - np.array(palette("object")[colour])).max(axis=2) < 60
    assert 0.03 < inked.mean() < 0.6
    assert np.abs(image[2:6, 2:6].mean((0, 1)) - GROUND).max() < 60


def test_shapes_differ_from_each_other():
    drawn = [np.asarray(draw_object(s, "black", np.random.default_rng(3), 64), dtype=int) for s in SHAPES]
    gaps = [np.abs(a - b).max(axis=2).__gt__(60).mean() for a, b in itertools.combinations(drawn, 2)]
    assert min(gaps) > 0.02


def test_images_depend_only_on_seed_and_path():
    plan = make_plan(SIZES["tiny"], 42)
    row, other = plan.split("forget")[:2]
    assert image_bytes(row, 64, 42) == image_bytes(row, 64, 42)
    assert image_bytes(row, 64, 42) != image_bytes(row, 64, 43)
    assert image_bytes(row, 64, 42) != image_bytes(other, 64, 42)
    assert Image.open(io.BytesIO(image_bytes(row, 64, 42))).format == "JPEG"


def test_images_of_one_identity_vary():
    rows = make_plan(SIZES["tiny"], 42).split("holdout_identity")[:6]
    drawn = [np.asarray(draw(row, 64, 42), dtype=int) for row in rows]
    assert min(np.abs(a - b).mean() for a, b in itertools.combinations(drawn, 2)) > 3


def test_develop_without_strength_only_reduces():
    flat = Image.new("RGB", (64, 64), (120, 60, 200))
    result = np.asarray(develop(flat, np.random.default_rng(0), strength=0.0))
    assert result.shape == (32, 32, 3)
    assert (result == (120, 60, 200)).all()
    assert jpeg(flat)[:2] == b"\xff\xd8"


@settings(deadline=None, max_examples=30)
@given(st.floats(0.2, 2.0), st.floats(-3.1, 3.1), st.floats(-1, 1), st.floats(-1, 1))
def test_a_frame_scales_rotates_and_shifts(scale, angle, x, y):
    """(1, 0) goes to scale * (cos, sin) + (x, y); the centre of the image is (0, 0), half its width one unit."""
    found = Frame(scale, angle, x, y).to_pixels(np.array([[1.0, 0.0]]), 10.0)
    expected = [(scale * np.cos(angle) + x + 1) * 10, (scale * np.sin(angle) + y + 1) * 10]
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_pen_fills_the_right_place():
    image = Image.new("L", (100, 100), 0)
    Pen(image, Frame(0.5, 0.0, 0.5, 0.5)).ellipse(0.0, 0.0, 0.5, 0.5, 255)
    inked = np.asarray(image) > 0
    assert inked[75, 75] and not inked[25, 25]
    assert inked.sum() == pytest.approx(np.pi * 12.5**2, rel=0.1)
