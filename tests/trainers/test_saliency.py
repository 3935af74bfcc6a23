"""SalUn's mask by hand, and what a step leaves alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lavis.trainers.saliency import Held, mean_gradient, salient, threshold

GRADIENTS = {"a": torch.tensor([[-5.0, 1.0], [0.0, 2.0]]), "b": torch.tensor([3.0, -4.0])}


def test_the_mean_counts_rows() -> None:
    """(3 · 1 + 1 · 5) / 4 = 2."""
    assert mean_gradient([(3, {"w": torch.tensor([1.0])}), (1, {"w": torch.tensor([5.0])})])["w"].tolist() == [2.0]


@pytest.mark.parametrize(("share", "least"), [(0.5, 3.0), (0.2, 5.0), (0.01, 5.0), (0.8, 2.0), (1.0, 1.0)])
def test_the_threshold_by_hand(share: float, least: float) -> None:
    """|g| = 5, 4, 3, 2, 1 and 0, which does not count: ⌈5 · 0.5⌉ = 3 of them are at least 3; 4 at least 2."""
    assert threshold(GRADIENTS, share).item() == least


def test_half_are_chosen_across_tensors() -> None:
    masks = salient(GRADIENTS, 0.5)
    assert masks["a"].tolist() == [[True, False], [False, False]] and masks["b"].tolist() == [True, True]


def test_weights_without_gradient_are_never_chosen() -> None:
    masks = salient({"w": torch.tensor([0.0, 0.0, 0.0, 1.0])}, 0.5)
    assert masks["w"].tolist() == [False, False, False, True]
    assert salient({"w": torch.zeros(2)}, 0.5)["w"].tolist() == [False, False]


def test_equal_gradients_at_the_threshold_are_all_chosen() -> None:
    assert salient({"w": torch.tensor([1.0, -1.0, 1.0, 0.5])}, 0.5)["w"].tolist() == [True, True, True, False]


def test_a_step_with_decay_moves_the_chosen_alone() -> None:
    weight = nn.Parameter(torch.tensor([[1.0, 2.0, 3.0]]))
    held = Held({"w": weight}, {"w": torch.tensor([[True, False, False]])})
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    for _ in range(3):
        weight.grad = torch.ones_like(weight)
        held.mask_gradients()
        assert weight.grad.tolist() == [[1.0, 0.0, 0.0]]
        optimizer.step()
        held.restore()
    assert weight[0, 0] < 0.9 and weight[0, 1:].tolist() == [2.0, 3.0]
