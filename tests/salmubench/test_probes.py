from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from lavis.common.errors import ConfigError, DataError
from lavis.common.seed import derived_seed
from lavis.salmubench.probes import acs, class_features, gen_know, idzsc, value_aucs
from tests.salmubench.rows import cosine, rows


@pytest.mark.parametrize("features", ["cosine", "product"])
def test_acs_agrees_with_loops(features):
    image = rows(23)
    text = image + rows(23, seed=1)
    order = np.random.default_rng(derived_seed(42, "salmubench", "acs")).permutation(23)
    pairs = [(i, i) for i in range(23)] + [(i, order[i]) for i in range(23)]
    unit = [[r / np.sqrt((r**2).sum()) for r in part] for part in (image, text)]
    inputs = [unit[0][i] * unit[1][j] if features == "product" else [cosine(image[i], text[j])] for i, j in pairs]
    inputs, labels = np.array(inputs), np.array([1] * 23 + [0] * 23)
    seed = derived_seed(42, "salmubench", "folds") % 2**32
    shares = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(inputs, labels):
        probe = LogisticRegression(max_iter=1000).fit(inputs[train], labels[train])
        logits = inputs[test] @ probe.coef_[0] + probe.intercept_[0]
        shares.append(sum((logit > 0) == bool(label) for logit, label in zip(logits, labels[test], strict=True)))
        shares[-1] /= len(test)
    assert acs(image, text, features=features) == pytest.approx(sum(shares) / 5, abs=1e-6)


def test_acs_tells_memory_from_none_and_repeats_itself():
    image = rows(200, 16)
    known = acs(image, image)
    unknown = acs(image, rows(200, 16, seed=1))
    assert known > 0.95 and 0.3 < unknown < 0.7
    np.random.random(7)
    assert acs(image, image) == known and acs(image, rows(200, 16, seed=1)) == unknown


@pytest.mark.parametrize("broken", [np.ones((8, 4)), np.full((8, 4), np.nan)])
def test_a_broken_model_gets_no_value(broken):
    fine, labels = rows(8, 4), np.arange(8)
    for call in (
        lambda: acs(broken, fine),
        lambda: acs(fine, broken),
        lambda: idzsc(broken, fine, labels),
        lambda: gen_know(fine, broken, labels),
        lambda: value_aucs(fine, broken, fine, labels),
    ):
        with pytest.raises(DataError, match="equal|not finite"):
            call()


def test_acs_errors():
    with pytest.raises(ConfigError, match="features is 'sum'"):
        acs(rows(9), rows(9), features="sum")
    with pytest.raises(DataError, match="at least 5 forget pairs"):
        acs(rows(4), rows(4))


@pytest.mark.parametrize("metric", [idzsc, gen_know])
def test_top1_agrees_with_loops_and_loses_ties(metric):
    image, classes = rows(30), rows(6, seed=1)
    classes[5] = classes[2]
    labels = np.arange(30) % 6
    hits = 0
    for i in range(30):
        scores = [round(cosine(image[i], c), 8) for c in classes]
        hits += all(scores[labels[i]] > s for j, s in enumerate(scores) if j != labels[i])
    assert metric(image, classes, labels) == pytest.approx(hits / 30, abs=1e-6)
    assert metric(classes, classes, np.arange(6)) == pytest.approx(4 / 6)


def test_top1_errors():
    with pytest.raises(ValueError, match=r"must lie in 0..2"):
        idzsc(rows(2), rows(3), [0, 3])
    with pytest.raises(DataError, match="at least two classes"):
        idzsc(rows(2), rows(1), [0, 0])


def test_class_features_average_unit_prompts():
    prompts, classes = rows(7), [0, 1, 0, 2, 2, 1, 2]
    for number, row in enumerate(class_features(prompts, classes)):
        own = [p / np.sqrt((p**2).sum()) for p, c in zip(prompts, classes, strict=True) if c == number]
        mean = sum(own) / len(own)
        np.testing.assert_allclose(row, mean / np.sqrt((mean**2).sum()), atol=1e-6)
    with pytest.raises(ValueError, match="numbered"):
        class_features(rows(2), [0, 2])


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
    np.testing.assert_allclose(value_aucs(image, text, other, owner), expected, atol=1e-6)


def test_value_auc_errors():
    with pytest.raises(DataError, match="1 pairs have no fictitious caption"):
        value_aucs(rows(3), rows(3), rows(4), [0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"must lie in 0..2"):
        value_aucs(rows(3), rows(3), rows(2), [0, 3])


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_opposite_images_have_the_opposite_value_auc(seed):
    image, text, other, owner = rows(4, seed=seed), rows(4, seed=seed + 1), rows(8, seed=seed + 2), np.arange(8) % 4
    np.testing.assert_allclose(value_aucs(-image, text, other, owner), 1 - value_aucs(image, text, other, owner))
