from __future__ import annotations

import pytest
import torch
from torch import nn

from lavis.evaluation.quantise import Int8Linear, quantised, rounded


def test_a_layer_by_hand():
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.tensor([[1.27, -0.634], [0.0, 0.0]])
    layer.bias.data = torch.tensor([0.5, 0.25])
    int8 = Int8Linear(layer)
    assert int8.weight.tolist() == [[127.0, -63.0], [0.0, 0.0]]
    inputs = torch.tensor([[2.54, 0.05], [0.0, 0.0]])  # scale 0.02: 127 and 2 (2.5 to even)
    expected = (127 * 127 - 63 * 2) * 0.01 * 0.02 + 0.5
    torch.testing.assert_close(int8(inputs), torch.tensor([[expected, 0.25], [0.5, 0.25]]))


def test_rounding_is_within_half_a_step():
    values = torch.randn(5, 40, generator=torch.Generator().manual_seed(0))
    numbers, scale = rounded(values)
    assert numbers.abs().max() == 127 and ((numbers * scale - values).abs() <= scale / 2 + 1e-7).all()


def test_agrees_with_loops():
    torch.manual_seed(1)
    layer, inputs = nn.Linear(3, 2), torch.randn(4, 3)
    found = Int8Linear(layer)(inputs)
    for row, given in enumerate(inputs.tolist()):
        step = max(abs(x) for x in given) / 127
        for out, weights in enumerate(layer.weight.tolist()):
            size = max(abs(w) for w in weights) / 127
            total = sum(round(w / size) * round(x / step) for w, x in zip(weights, given, strict=True))
            assert found[row, out].item() == pytest.approx(total * size * step + layer.bias[out].item(), abs=1e-5)


def test_a_copy_is_quantised_including_attention():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    int8 = quantised(model)
    assert type(int8.linear1) is Int8Linear and type(model.linear1) is nn.Linear
    assert type(int8.self_attn.out_proj) is not Int8Linear
    for weight in (int8.self_attn.in_proj_weight, int8.self_attn.out_proj.weight):
        steps = weight / (weight.abs().amax(dim=1, keepdim=True) / 127)
        torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match="no linear layer"):
        quantised(nn.Sequential(nn.ReLU()))
