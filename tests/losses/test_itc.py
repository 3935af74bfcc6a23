from __future__ import annotations

import math

import pytest
import torch

from lavis.losses.itc import (
    distillation_weight,
    distilled_cross_entropy,
    itc_loss,
    same_image_targets,
    soft_cross_entropy,
    soften,
)


@pytest.mark.parametrize(
    ("epoch", "step", "epochs", "expected"),
    [(0, 0, 2, 0.0), (0, 50, 2, 0.1), (1, 0, 2, 0.2), (2, 0, 2, 0.4), (7, 3, 2, 0.4), (0, 50, 1, 0.2), (1, 0, 1, 0.4)],
)
def test_ramp(epoch, step, epochs, expected):
    assert distillation_weight(0.4, epoch, step, 100, epochs) == pytest.approx(expected)


def test_equal_images_share_the_target():
    targets = same_image_targets(torch.tensor([7, 7, 9]), torch.tensor([7, 7, 9, 9, -100, 7]))
    third, half = 1 / 3, 1 / 2
    expected = [[third, third, 0, 0, 0, third], [third, third, 0, 0, 0, third], [0, 0, half, half, 0, 0]]
    torch.testing.assert_close(targets, torch.tensor(expected))


def test_soft_targets_mix_and_carry_no_gradient():
    teacher = torch.tensor([[math.log(3.0), 0.0]], requires_grad=True)
    mixed = soften(torch.tensor([[0.0, 1.0]]), teacher, 0.4)
    torch.testing.assert_close(mixed, torch.tensor([[0.4 * 0.75, 0.4 * 0.25 + 0.6]]))
    assert not mixed.requires_grad


def test_soft_cross_entropy_by_hand():
    """Logits log 3 and 0 give probabilities 3/4 and 1/4."""
    loss = soft_cross_entropy(torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([[0.5, 0.5]]))
    assert loss.item() == pytest.approx(-(0.5 * math.log(0.75) + 0.5 * math.log(0.25)), rel=1e-6)


def test_itc_is_the_mean_of_both_directions():
    one, zero = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    targets = torch.tensor([[1.0, 0.0]])
    assert itc_loss(one, zero, targets, targets).item() == pytest.approx((-math.log(0.75) + math.log(2)) / 2, rel=1e-6)


def test_distilled_cross_entropy():
    logits, labels = torch.tensor([[math.log(3.0), 0.0]]), torch.tensor([1])
    teacher = torch.tensor([[50.0, 0.0]])
    assert distilled_cross_entropy(logits, labels, None, 0.4).item() == pytest.approx(-math.log(0.25), rel=1e-6)
    expected = -0.6 * math.log(0.25) - 0.4 * math.log(0.75)
    assert distilled_cross_entropy(logits, labels, teacher, 0.4).item() == pytest.approx(expected, rel=1e-6)
