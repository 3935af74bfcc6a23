"""Masked distillation by hand: with two captions, the masked teacher gives the wrong one probability 1."""

from __future__ import annotations

import math

import pytest
import torch

from lavis.common.features import PairFeatures
from lavis.trainers.maskdistill import maskdistill_terms
from tests.trainers.methods import LN3, crossed_pairs, eye_pairs, leaf_pairs, moved, stepped_trainer


def test_loss_by_hand():
    """Student rows (3, 1)/4 against (0, 1): KL = ln 4 in each direction."""
    assert maskdistill_terms(eye_pairs(), eye_pairs(), LN3)["forget"].item() == pytest.approx(2 * math.log(4), abs=1e-9)


def test_swapped_pairs_are_nearer_to_the_target():
    """Student rows (1, 3)/4 against (0, 1): KL = ln 4/3 in each direction."""
    loss = maskdistill_terms(crossed_pairs(), eye_pairs(), LN3)["forget"]
    assert loss.item() == pytest.approx(2 * math.log(4 / 3), abs=1e-9)


def test_the_teachers_true_pairs_do_not_matter():
    """Only cosines off the diagonal are distilled: changing S_00 alone does not change the loss."""
    student, _ = leaf_pairs(1, rows=2, width=2)
    one = PairFeatures(torch.eye(3).double()[:2], torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).double())
    two = PairFeatures(torch.eye(3).double()[:2], torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]).double())
    losses = [maskdistill_terms(student, teacher, LN3)["forget"].item() for teacher in (one, two)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_step_makes_true_pairs_less_likely(seed):
    """From the teacher's own weights, the softmax of the true pairs falls."""
    student, leaves = leaf_pairs(seed)
    after = PairFeatures(*moved(maskdistill_terms(student, student, LN3)["forget"], leaves))
    likely = [(LN3 * part.similarity).softmax(dim=-1).diagonal().mean() for part in (student, after)]
    assert likely[1] < likely[0]


def test_the_trainer_needs_df_alone():
    subject, batch = stepped_trainer("maskdistill")
    del batch.sets["dr"]
    total, terms = subject.loss(batch)
    assert set(terms) == {"forget"} and total.item() > 0
