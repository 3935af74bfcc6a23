"""The MLP that keeps less: values, gradients and names are those of the plain one; less is held for backward."""

from __future__ import annotations

import copy
import json

import open_clip
import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import nn

from lavis.models.clip import ClipModel
from lavis.settings.schema import ModelConfig
from lavis.towers.recompute import RecomputedMlp, recompute_mlps
from tests.small import ARCH

WIDTH, ROWS = 32, 24
WIDE = 4 * ROWS * 4 * WIDTH * 4  # one output of the activation function, in bytes


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch):
    monkeypatch.setattr("lavis.towers.recompute.STORED_BYTES", 0)


def towers(quick: bool = False) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    shape = {"width": WIDTH, "layers": 2, "heads": 2}
    act = open_clip.transformer.QuickGELU if quick else nn.GELU
    plain = open_clip.transformer.Transformer(**shape, act_layer=act)
    lean = copy.deepcopy(plain)
    assert recompute_mlps(lean) == 2
    return plain, lean


def held(work) -> int:
    """Bytes that autograd holds for the backward pass, each storage once."""
    found: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = work()
    assert result.requires_grad
    return sum(found.values())


@pytest.mark.parametrize("quick", [False, True])
def test_values_and_gradients_are_bit_equal(quick):
    plain, lean = towers(quick)
    x = torch.randn(4, ROWS, WIDTH, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    one, two = plain(x), lean(y)
    assert torch.equal(one, two)
    one.square().sum().backward()
    two.square().sum().backward()
    assert torch.equal(x.grad, y.grad)
    for (name, a), (other, b) in zip(plain.named_parameters(), lean.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(a.grad, b.grad), name


def test_the_wide_activation_is_not_held():
    plain, lean = towers()
    x = torch.randn(4, ROWS, WIDTH, requires_grad=True)
    weight = 4 * WIDTH * WIDTH * 4  # of the last layer: listed while it is held for backward, though it is there anyway
    assert held(lambda: plain(x)) - held(lambda: lean(x)) == 2 * (WIDE + weight)


@pytest.mark.parametrize(("most", "recomputed"), [(2 * WIDE, 0), (2 * WIDE - 1, 2)])
def test_what_is_small_for_a_cpu_is_stored(most, recomputed, monkeypatch):
    calls = []
    monkeypatch.setattr("lavis.towers.recompute.STORED_BYTES", most)
    monkeypatch.setattr("lavis.towers.recompute.checkpoint", lambda run, *args, **keys: calls.append(1) or run(*args))
    _, lean = towers()
    lean(torch.randn(4, ROWS, WIDTH, requires_grad=True))
    assert len(calls) == recomputed  # of two blocks


def test_without_gradients_nothing_is_wrapped(monkeypatch):
    _, lean = towers()
    monkeypatch.setattr("lavis.towers.recompute.checkpoint", lambda *_, **__: pytest.fail("it was wrapped"))
    with torch.no_grad():
        lean(torch.randn(1, ROWS, WIDTH))


def test_frozen_towers_pass_gradients_through():
    """The text tower trained behind a frozen image tower, and the other way round, as some methods do."""
    plain, lean = towers()
    for tower in (plain, lean):
        tower.requires_grad_(False)
    x = torch.randn(2, ROWS, WIDTH, requires_grad=True)
    grads = [torch.autograd.grad(tower(x).sum(), x)[0] for tower in (plain, lean)]
    assert torch.equal(*grads)


def test_every_block_of_clip_has_it(tmp_path):
    path = tmp_path / "arch.json"
    path.write_text(json.dumps(ARCH))
    model = ClipModel.from_config(ModelConfig(model_type=str(path)))
    blocks = [part for part in model.modules() if isinstance(part, ResidualAttentionBlock)]
    assert blocks
    assert all(isinstance(block.mlp, RecomputedMlp) for block in blocks)
