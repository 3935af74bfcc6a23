"""Shuffled captions by hand: after swapping two captions, the true pairs are the wrong answers."""

from __future__ import annotations

import math

import pytest
import torch

from lavis.common.features import PairFeatures
from lavis.losses.contrastive import contrastive_loss
from lavis.trainers.shuffled import contrastive_terms
from tests.trainers.methods import LN3, crossed_pairs, eye_pairs, leaf_pairs, moved, stepped_trainer


def test_terms_by_hand():
    """Scale ln 3: swapped captions give rows (1, 3)/4, loss ln 4; true ones (3, 1)/4, loss ln 4/3."""
    terms = contrastive_terms(crossed_pairs(), eye_pairs(), LN3)
    assert terms["forget"].item() == pytest.approx(math.log(4), abs=1e-12)
    assert terms["retain"].item() == pytest.approx(math.log(4 / 3), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_step_pulls_wrong_pairs_together(seed):
    student, leaves = leaf_pairs(seed)
    order = torch.tensor([1, 2, 3, 0])
    wrong = student.with_text(student.text[order])
    image, text = moved(contrastive_terms(wrong, student, LN3)["forget"], leaves)
    assert contrastive_loss(PairFeatures(image, text[order]), LN3) < contrastive_loss(wrong, LN3)


def test_the_trainer_shuffles_the_captions_by_the_batch():
    subject, batch = stepped_trainer("shuffled", method_args={"share_equal": False})
    _, terms = subject.loss(batch)
    side = batch.sets["df"]
    own = subject.model(side)
    expected = contrastive_loss(own.with_text(own.text[batch.permutation]), subject.scale)
    assert terms["forget"].item() == pytest.approx(expected.item(), abs=1e-6)


def test_equal_captions_keep_their_numbers_when_shuffled():
    """Captions a, a, b, b: the loss shares targets among equal captions in their shuffled order."""
    subject, batch = stepped_trainer("shuffled")
    batch.sets["df"]["captions"] = ["a", "a", "b", "b"]
    _, terms = subject.loss(batch)
    side, order = batch.sets["df"], batch.permutation
    own = subject.model(side)
    groups = torch.tensor([0, 0, 1, 1])[order]
    expected = contrastive_loss(own.with_text(own.text[order]), subject.scale, groups)
    assert terms["forget"].item() == pytest.approx(expected.item(), abs=1e-6)
