from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, train_test_split

from lavis.common.errors import ConfigError, DataError
from lavis.common.seed import derived_seed
from lavis.salmubench.acs import acs
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
    assert acs(image, text, features=features, folds=True) == pytest.approx(sum(shares) / 5, abs=1e-6)
    half = derived_seed(42, "salmubench", "half") % 2**32
    train, test = train_test_split(np.arange(46), test_size=0.5, stratify=labels, random_state=half)
    assert abs(labels[test].mean() - 0.5) <= 1 / len(test)
    probe = LogisticRegression(max_iter=1000).fit(inputs[train], labels[train])
    logits = inputs[test] @ probe.coef_[0] + probe.intercept_[0]
    right = sum((logit > 0) == bool(label) for logit, label in zip(logits, labels[test], strict=True))
    assert acs(image, text, features=features) == pytest.approx(right / 23, abs=1e-6)


def test_acs_separates_memory_from_none_and_is_repeatable():
    image = rows(200, 16)
    known = acs(image, image)
    unknown = acs(image, rows(200, 16, seed=1))
    assert known > 0.95 and 0.3 < unknown < 0.7
    np.random.random(7)
    assert acs(image, image) == known and acs(image, rows(200, 16, seed=1)) == unknown


@pytest.mark.parametrize("broken", [np.ones((8, 4)), np.full((8, 4), np.nan)])
def test_a_broken_model_gets_no_value(broken):
    for pair in ((broken, rows(8, 4)), (rows(8, 4), broken)):
        with pytest.raises(DataError, match="equal|not finite"):
            acs(*pair)


def test_acs_errors():
    with pytest.raises(ConfigError, match="features is 'sum'"):
        acs(rows(9), rows(9), features="sum")
    with pytest.raises(DataError, match="at least 5 forget pairs"):
        acs(rows(4), rows(4))
