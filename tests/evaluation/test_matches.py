from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.evaluation.matches import build_matches


@st.composite
def drawn_matches(draw):
    n_img = draw(st.integers(1, 12))
    n_txt = draw(st.integers(1, 20))
    txt2img = draw(st.lists(st.integers(0, n_img - 1), min_size=n_txt, max_size=n_txt))
    group = draw(st.none() | st.lists(st.integers(0, 5), min_size=n_txt, max_size=n_txt))
    return n_img, np.array(txt2img), None if group is None else np.array(group)


@given(drawn_matches(), st.integers(1, 7))
@settings(deadline=None, max_examples=60)
def test_tiles_contain_each_matching_pair_once(drawn, block):
    n_img, txt2img, group = drawn
    built = build_matches(txt2img, group, n_img)
    found = []
    for r in range(0, n_img, block):
        for c in range(0, len(txt2img), block):
            rows, cols = slice(r, min(r + block, n_img)), slice(c, min(c + block, len(txt2img)))
            local = built.right_pairs(rows, cols)
            found += zip(built.image_order[r + local[0]], built.text_order[c + local[1]], strict=True)
    number = np.arange(len(txt2img)) if group is None else group
    expected = {(i, j) for i in range(n_img) for j in range(len(txt2img)) if number[j] in number[txt2img == i]}
    assert len(found) == len(expected) and set(found) == expected
    assert list(built.own_texts) == [sum(i == a for a, _ in expected) for i in built.image_order]
    assert list(built.own_images) == [sum(j == b for _, b in expected) for j in built.text_order]


def test_paired_rows_keep_their_order():
    built = build_matches(np.arange(50), None, 50)
    assert list(built.image_order) == list(range(50)) == list(built.text_order)


def test_equal_captions_are_brought_together():
    """Image i has caption i mod 3: the matching pairs must fill three squares on the diagonal."""
    built = build_matches(np.arange(9), np.arange(9) % 3, 9)
    rows, cols = built.right_pairs(slice(0, 9), slice(0, 9))
    assert set(rows // 3 - cols // 3) == {0}


@pytest.mark.parametrize(
    ("txt2img", "group", "message"),
    [
        (np.array([0, 3]), None, r"0\.\.2, got 0\.\.3"),
        (np.array([-1, 0]), None, r"got -1\.\.0"),
        (np.array([0.0, 1.0]), None, "txt2img must be 2 whole numbers"),
        (np.array([0, 1]), np.array([0]), r"text_group must be 2 whole numbers, got shape \(1,\)"),
        (np.array([0, 1]), np.array(["a", "b"]), "text_group must be 2 whole numbers"),
    ],
)
def test_wrong_maps_are_refused(txt2img, group, message):
    with pytest.raises(ValueError, match=message):
        build_matches(txt2img, group, 3)
