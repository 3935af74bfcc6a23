"""CLIPErase as published, by hand on two pairs with S = identity or with swapped captions, scale ln 3."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

import lavis
from lavis.common.features import PairFeatures
from lavis.trainers.cliperase import cliperase_terms
from tests.trainers.methods import LN3, crossed_pairs, eye_pairs, leaf_pairs, moved, stepped_trainer


def test_terms_by_hand():
    """FM: cosines 1 and 1. RM: rows (1, 3)/4, so -ln ¼. CM: KL((3, 1)/4 ‖ (1, 3)/4) = ½ ln 3 in each direction."""
    terms = cliperase_terms(eye_pairs(), crossed_pairs(), eye_pairs(), LN3)
    assert terms["forget"].item() == pytest.approx(1.0, abs=1e-12)
    assert terms["retain"].item() == pytest.approx(math.log(4), abs=1e-12)
    assert terms["consist"].item() == pytest.approx(2 * 0.5 * math.log(3), abs=1e-12)


def test_a_student_like_the_teacher_has_no_divergence():
    assert cliperase_terms(eye_pairs(), eye_pairs(), eye_pairs(), LN3)["consist"].item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_every_term_pulls_the_right_way(seed):
    df, df_leaves = leaf_pairs(seed)
    dr, dr_leaves = leaf_pairs(seed + 10)
    teacher, _ = leaf_pairs(seed + 20)
    before = cliperase_terms(df, dr, teacher, LN3)
    further = PairFeatures(*moved(before["forget"], df_leaves))
    assert further.paired.mean() < df.paired.mean()
    for name in ("retain", "consist"):
        after = PairFeatures(*moved(before[name], dr_leaves))
        assert cliperase_terms(df, after, teacher, LN3)[name] < before[name]


def test_the_papers_weights_are_the_defaults():
    path = Path(lavis.__file__).parent / "configs" / "methods" / "cliperase.yaml"
    assert yaml.safe_load(path.read_text())["run"]["weights"] == {"retain": 1, "forget": 3, "consist": 3}


def test_weighted_sum_of_the_trainer():
    subject, batch = stepped_trainer("cliperase", weights={"retain": 1.0, "forget": 3.0, "consist": 3.0})
    total, terms = subject.loss(batch)
    expected = terms["retain"] + 3 * terms["forget"] + 3 * terms["consist"]
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["consist"].item() == pytest.approx(0.0, abs=1e-5)
