from __future__ import annotations

import math

import pytest
import torch

from lavis.losses.lm import lm_labels, sequence_losses, weighted_lm_loss


def test_padding_is_not_predicted():
    labels = lm_labels(torch.tensor([[2, 25, 3, 0]]), torch.tensor([[1, 1, 1, 0]]))
    assert labels.tolist() == [[2, 25, 3, -100]]


def test_losses_are_shifted_smoothed_and_summed():
    """Probabilities 3/4 and 1/4; smoothing puts 0.05 of the target on each of the two words."""
    step = [math.log(3.0), 0.0]
    logits = torch.tensor([[step, step, step], [step, step, step]])
    labels = torch.tensor([[0, 0, 1], [0, 1, -100]])
    high, low = math.log(0.75), math.log(0.25)
    likely, unlikely = -(0.95 * high + 0.05 * low), -(0.05 * high + 0.95 * low)
    torch.testing.assert_close(sequence_losses(logits, labels), torch.tensor([likely + unlikely, unlikely]))


def test_the_teacher_counts_on_tokens_only():
    step, sure = [math.log(3.0), 0.0], [60.0, 0.0]
    logits = torch.tensor([[step, step, step]])
    teacher = torch.tensor([[sure, sure, sure]], requires_grad=True)
    labels = torch.tensor([[0, 1, -100]])
    plain = sequence_losses(logits, labels).item()
    loss = sequence_losses(logits, labels, teacher, 0.4)
    assert loss.item() == pytest.approx(0.6 * plain - 0.4 * math.log(0.75), rel=1e-6)
    assert not loss.requires_grad


def test_weighted_sum_over_questions():
    losses, weights = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.5, 0.5, 1.0])
    assert weighted_lm_loss(losses, weights, 2).item() == pytest.approx(2.75)
