from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.errors import DataError
from lavis.salmubench.value_auc import value_aucs
from tests.salmubench.rows import cosine, rows


def test_value_auc_agrees_with_loops():
    image, text, other = rows(5), rows(5, seed=1), rows(12, seed=2)
    owner = np.array([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 0])
    other[6] = text[1]
    expected = []
    for i in range(5):
        own, won = round(cosine(image[i], text[i]), 8), []
        for j in np.flatnonzero(owner == i):
            score = round(cosine(image[i], other[j]), 8)
            won.append(0.5 if score == own else float(own > score))
        expected.append(sum(won) / len(won))
    np.testing.assert_allclose(value_aucs(image, text, [(other, owner)]), expected, atol=1e-6)


def test_value_auc_errors():
    with pytest.raises(DataError, match="1 pairs have no fictitious caption"):
        value_aucs(rows(3), rows(3), [(rows(4), [0, 0, 1, 1])])
    with pytest.raises(ValueError, match=r"must lie in 0..2"):
        value_aucs(rows(3), rows(3), [(rows(2), [0, 3])])


def test_a_broken_model_gets_no_value():
    for broken in (np.ones((8, 4)), np.full((8, 4), np.nan)):
        with pytest.raises(DataError, match="equal|not finite"):
            value_aucs(rows(8, 4), broken, [(rows(8, 4), np.arange(8))])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_opposite_images_have_the_opposite_value_auc(seed):
    image, text, other, owner = rows(4, seed=seed), rows(4, seed=seed + 1), rows(8, seed=seed + 2), np.arange(8) % 4
    np.testing.assert_allclose(
        value_aucs(-image, text, [(other, owner)]), 1 - value_aucs(image, text, [(other, owner)])
    )
