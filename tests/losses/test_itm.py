from __future__ import annotations

import math

import pytest
import torch

from lavis.losses.itm import draw_negatives, hard_negative_weights, itm_loss


def test_weights_are_a_softmax_without_the_same_image():
    logits = torch.log(torch.tensor([[1.0, 2.0, 1.0], [1.0, 1.0, 2.0], [3.0, 0.5, 0.5]]))
    weights = hard_negative_weights(logits, torch.tensor([7, 7, 9]))
    torch.testing.assert_close(weights, torch.tensor([[0, 0, 0.25], [0, 0, 0.5], [0.75, 0.125, 0]]))


def test_candidates_that_underflow_are_equally_likely():
    """exp(−1000) is zero in single precision; without a fallback the row would have nothing to draw."""
    logits = torch.tensor([[0.0, -1000.0, -1000.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    weights = hard_negative_weights(logits, torch.tensor([1, 2, 3]))
    torch.testing.assert_close(weights[0], torch.tensor([0.0, 1.0, 1.0]))


def test_draws_follow_the_weights():
    weights = torch.tensor([[0.0, 0.75, 0.25]]).expand(20_000, -1)
    torch.manual_seed(0)
    drawn = draw_negatives(weights)
    assert (drawn == 0).sum() == 0
    assert (drawn == 1).float().mean().item() == pytest.approx(0.75, abs=0.02)


def test_a_single_image_has_no_negative():
    weights = hard_negative_weights(torch.randn(3, 3), torch.tensor([5, 5, 5]))
    assert draw_negatives(weights).tolist() == []


def test_matching_loss_by_hand():
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)], [0.0, 0.0]])
    expected = -(math.log(0.75) + math.log(0.25) + math.log(0.5)) / 3
    assert itm_loss(logits, 1).item() == pytest.approx(expected, rel=1e-6)
