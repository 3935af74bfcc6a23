from __future__ import annotations

import numpy as np
import pytest

from lavis.common.errors import DataError
from lavis.evaluation.zero_shot import class_features, top1
from tests.salmubench.rows import cosine, rows


def test_top1_agrees_with_loops_and_loses_ties():
    image, classes = rows(30), rows(6, seed=1)
    classes[5] = classes[2]
    labels = np.arange(30) % 6
    hits = 0
    for i in range(30):
        scores = [round(cosine(image[i], c), 8) for c in classes]
        hits += all(scores[labels[i]] > s for j, s in enumerate(scores) if j != labels[i])
    assert top1(image, classes, labels, "GenKnow") == pytest.approx(hits / 30, abs=1e-6)
    assert top1(classes, classes, np.arange(6), "GenKnow") == pytest.approx(4 / 6)


def test_top1_errors():
    with pytest.raises(ValueError, match=r"must lie in 0..2"):
        top1(rows(2), rows(3), [0, 3], "IdZSC")
    with pytest.raises(DataError, match="at least two classes"):
        top1(rows(2), rows(1), [0, 0], "IdZSC")


@pytest.mark.parametrize("broken", [np.ones((8, 4)), np.full((8, 4), np.nan)])
def test_a_broken_model_gets_no_value(broken):
    for pair in ((broken, rows(8, 4)), (rows(8, 4), broken)):
        with pytest.raises(DataError, match="equal|not finite"):
            top1(*pair, np.arange(8), "GenKnow")


def test_class_features_average_unit_prompts():
    prompts, classes = rows(7), [0, 1, 0, 2, 2, 1, 2]
    for number, row in enumerate(class_features(prompts, classes)):
        own = [p / np.sqrt((p**2).sum()) for p, c in zip(prompts, classes, strict=True) if c == number]
        mean = sum(own) / len(own)
        np.testing.assert_allclose(row, mean / np.sqrt((mean**2).sum()), atol=1e-6)
    with pytest.raises(ValueError, match="numbered"):
        class_features(rows(2), [0, 2])
