from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.errors import DataError
from lavis.evaluation.inputs import paired_cosines, row_numbers, unit_rows
from lavis.salmubench.core_assoc import core_cosines
from tests.salmubench.rows import cosine, rows


def mean(image, text) -> float:
    """The value of AssocStr and the metrics like it."""
    return float(paired_cosines(image, text, "AssocStr").mean())


def test_mean_of_paired_cosines():
    image, text = rows(7), rows(7, seed=1)
    expected = sum(cosine(a, b) for a, b in zip(image, text, strict=True)) / 7
    assert mean(image, text) == pytest.approx(expected, abs=1e-6)
    assert mean(torch.tensor(image).float(), torch.tensor(text).float()) == pytest.approx(expected, abs=1e-6)


def test_core_association_takes_the_better_order():
    image, one, two = rows(6), rows(6, seed=1), rows(6, seed=2)
    expected = [max(cosine(i, a), cosine(i, b)) for i, a, b in zip(image, one, two, strict=True)]
    np.testing.assert_allclose(core_cosines(image, one, two), expected, atol=1e-6)
    np.testing.assert_array_equal(core_cosines(image, two, one), core_cosines(image, one, two))


@pytest.mark.parametrize("modality", [0, 1])
@pytest.mark.parametrize("break_it", [lambda x: x * np.nan, lambda x: x * 0, lambda x: np.ones_like(x)])
def test_broken_embeddings_have_no_value(modality, break_it):
    pair = [rows(5), rows(5, seed=1)]
    pair[modality] = break_it(pair[modality])
    with pytest.raises(DataError, match="not finite or zero|all 5 embeddings are equal"):
        mean(*pair)


def test_one_bad_row_is_enough_and_counted():
    image = rows(5)
    image[3, 2] = np.inf
    with pytest.raises(DataError, match="AssocStr images: 1 of 5 embeddings"):
        mean(image, rows(5, seed=1))


def test_shapes():
    with pytest.raises(DataError, match="nothing to measure"):
        mean(np.empty((0, 3)), np.empty((0, 3)))
    with pytest.raises(ValueError, match="paired row by row"):
        mean(rows(3), rows(4))
    with pytest.raises(ValueError, match="need shape"):
        unit_rows(np.ones(3), "x")
    with pytest.raises(ValueError, match="whole numbers"):
        row_numbers([0.5], 1, "labels")


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 8), st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_scale_does_not_matter(n, seed, factor):
    image, text = rows(n, seed=seed), rows(n, seed=seed + 1)
    value = mean(image, text)
    assert -1 - 1e-9 <= value <= 1 + 1e-9
    assert mean(image * factor, text) == pytest.approx(value, abs=1e-9)
