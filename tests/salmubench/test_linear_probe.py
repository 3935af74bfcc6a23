from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from lavis.common.errors import DataError
from lavis.common.seed import derived_seed
from lavis.salmubench.linear_probe import linear_probe
from tests.salmubench.rows import rows


def test_agrees_with_loops_over_the_folds():
    people = ["ann"] * 6 + ["bob"] * 9 + ["eve"] * 4  # eve has too few images
    features = rows(19)
    unit = features[:15] / np.linalg.norm(features[:15], axis=1, keepdims=True)
    labels = np.array([0] * 6 + [1] * 9)
    folds = StratifiedKFold(5, shuffle=True, random_state=derived_seed(42, "salmubench", "probe folds") % 2**32)
    shares = []
    for train, test in folds.split(unit, labels):
        centre, spread = unit[train].mean(axis=0), unit[train].std(axis=0)
        model = LogisticRegression(max_iter=300, tol=1e-3).fit((unit[train] - centre) / spread, labels[train])
        shares.append((model.predict((unit[test] - centre) / spread) == labels[test]).mean())
    found = linear_probe(features, people)
    assert found["accuracy"] == pytest.approx(np.mean(shares), abs=1e-6)
    assert found["chance"] == pytest.approx(9 / 15, abs=1e-6)


def test_people_are_found_if_features_distinguish_them():
    people = [str(i % 4) for i in range(80)]
    centres = rows(4, 8, seed=1)
    clusters = centres[[int(p) for p in people]] + 0.1 * rows(80, 8, seed=2)
    assert linear_probe(clusters, people) == {"accuracy": 1.0, "chance": 0.25} == linear_probe(clusters, people)
    assert linear_probe(rows(80, 8, seed=3), people)["accuracy"] < 0.5


def test_at_most_twenty_images_per_person_are_drawn():
    assert linear_probe(rows(60), ["ann"] * 50 + ["bob"] * 10)["chance"] == pytest.approx(20 / 30)


def test_what_cannot_be_measured():
    with pytest.raises(DataError, match="fewer than two identities"):
        linear_probe(rows(9), ["ann"] * 5 + ["bob"] * 4)
    for bad in (np.ones((10, 3)), np.full((10, 3), np.nan)):
        with pytest.raises(DataError, match="equal|not finite"):
            linear_probe(bad, ["ann", "bob"] * 5)
