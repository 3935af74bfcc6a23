"""Rounded and pruned weights by hand; the model itself stays as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lavis.audits.grid import changed_weights, pruned, rounded_to


def test_rounding_to_three_bits_by_hand():
    # three bits: levels −3 … 3, so s = .9/3 = .3: .9 → 3, .4 → 1, −.2 → −1, .1 → 0
    weight = torch.tensor([[0.9, 0.4, -0.2, 0.1]])
    assert torch.allclose(rounded_to(weight, 3), torch.tensor([[0.9, 0.3, -0.3, 0.0]]))
    # in groups of two, the second has s = .2/3: −.2 → −3, .1 → 1.5, which rounds to 2
    assert torch.allclose(rounded_to(weight, 3, group=2), torch.tensor([[0.9, 0.3, -0.2, 0.4 / 3]]))


@pytest.mark.parametrize("bits", [8, 4, 3])
def test_rounding_is_within_half_a_step_and_idempotent(bits):
    weight = torch.randn(5, 7, 2, generator=torch.Generator().manual_seed(0))
    found = rounded_to(weight, bits)
    step = weight.flatten(1).abs().amax(dim=1) / (2 ** (bits - 1) - 1)
    assert ((found - weight).abs().flatten(1) <= step[:, None] / 2 + 1e-6).all()
    assert torch.allclose(rounded_to(found, bits), found, atol=1e-6)


def test_pruning_takes_the_smallest():
    weight = torch.tensor([[0.1, -0.5], [0.3, -0.2]])
    assert pruned(weight, 0.5).tolist() == torch.tensor([[0.0, -0.5], [0.3, 0.0]]).tolist()
    assert torch.equal(pruned(weight, 0.0), weight)


def test_only_matrices_of_a_copy_change():
    model = nn.Linear(2, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = changed_weights(model, lambda _, weight: torch.zeros_like(weight))
    assert torch.equal(found.weight, torch.zeros(2, 2)) and torch.equal(found.bias, before["bias"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
