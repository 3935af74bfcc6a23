"""SelfAttention against torch's own module and against double precision."""

from __future__ import annotations

import copy

import pytest
import torch
from open_clip.transformer import Transformer, VisionTransformer
from torch import nn

from lavis.common.precision import attention as kernel
from lavis.towers import attention as module
from lavis.towers.attention import CpuAttention, SelfAttention, attend, compute_first_token, pack_attention

CAUSAL = torch.full((150, 150), float("-inf")).triu(1)
MASK = CAUSAL[:20, :20]


def pair(width: int = 24, heads: int = 3) -> tuple[nn.MultiheadAttention, SelfAttention]:
    torch.manual_seed(0)
    plain = nn.MultiheadAttention(width, heads, batch_first=True)
    own = copy.deepcopy(plain)
    own.__class__ = SelfAttention
    return plain, own


def outcome(layer: nn.Module, rows: torch.Tensor, mask: torch.Tensor | None) -> list[torch.Tensor]:
    """Output and every gradient of a fixed scalar."""
    rows = rows.clone().requires_grad_()
    layer.zero_grad()
    out = layer(rows, rows, rows, need_weights=False, attn_mask=mask)[0]
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return [out.detach(), rows.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("length", [1, 7, 127, 128, 150])
@pytest.mark.parametrize("masked", [False, True])
def test_it_equals_torch(length, masked):
    plain, own = (layer.double() for layer in pair())
    rows = torch.randn(5, length, 24, dtype=torch.float64)
    mask = CAUSAL[:length, :length].double() if masked else None
    for ours, theirs in zip(outcome(own, rows, mask), outcome(plain, rows, mask), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


def test_chunks_of_any_size_give_the_same(monkeypatch):
    packed = torch.randn(7, 130, 3, 2, 4, dtype=torch.float64)
    found = []
    for rows in (1, 3, 100):
        monkeypatch.setattr(module, "CACHED_BYTES", 4 * 2 * 130**2 * rows)
        leaf = packed.clone().requires_grad_()
        out = CpuAttention.apply(leaf)
        out.square().sum().backward()
        found.append(torch.cat([out.detach().flatten(), leaf.grad.flatten()]))
    torch.testing.assert_close(found[1], found[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(found[2], found[0], atol=1e-12, rtol=0)


def test_half_precision_is_as_close_as_torchs_kernel():
    torch.manual_seed(1)
    exact = (1.5 * torch.randn(4, 197, 3, 4, 64, dtype=torch.float64)).requires_grad_()
    weights = torch.randn(4, 197, 4, 64)
    (CpuAttention.apply(exact) * weights).sum().backward()

    def away(way) -> float:
        leaf = exact.detach().bfloat16().requires_grad_()
        (way(leaf) * weights.bfloat16()).sum().backward()
        return ((leaf.grad.double() - exact.grad).norm() / exact.grad.norm()).item()

    def torchs(leaf):
        query, key, value = leaf.permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)

    assert away(attend) < 1.1 * away(torchs) < 0.02


def test_under_autocast_scores_stay_in_single_precision(monkeypatch):
    kinds = []
    weights = module._weights
    monkeypatch.setattr(module, "_weights", lambda q, k: kinds.append(weights(q, k).dtype) or weights(q, k))
    _, own = pair()
    with torch.autocast("cpu", torch.bfloat16):
        out = outcome(own, torch.randn(2, 130, 24), None)[0]
    assert out.dtype is torch.bfloat16 and set(kinds) == {torch.float32} and len(kinds) == 2


def test_a_named_kernel_is_torchs(monkeypatch):
    monkeypatch.setattr(module, "CpuAttention", None)  # would raise
    packed = torch.randn(1, 130, 3, 2, 4)
    with kernel("math"):
        math = attend(packed)
    with pytest.raises(AttributeError):
        attend(packed)
    monkeypatch.undo()
    torch.testing.assert_close(attend(packed), math)


def test_other_uses_go_to_torch():
    plain, own = pair()
    query, other = torch.randn(2, 5, 24), torch.randn(2, 9, 24)
    hidden = torch.tensor([[False] * 7 + [True] * 2] * 2)
    for ours, theirs in (
        (own(query, query, query), plain(query, query, query)),
        (
            own(query, other, other, key_padding_mask=hidden, need_weights=False),
            plain(query, other, other, key_padding_mask=hidden, need_weights=False),
        ),
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_tower_keeps_its_names_and_values():
    torch.manual_seed(0)
    tower = Transformer(24, 2, 3, batch_first=True)
    rows = torch.randn(2, 140, 24)
    before, names = tower(rows), list(tower.state_dict())
    assert pack_attention(tower) == 2 and pack_attention(tower) == 0 and list(tower.state_dict()) == names
    torch.testing.assert_close(tower(rows), before)
    torch.testing.assert_close(
        tower(rows, attn_mask=CAUSAL[:140, :140]).detach(), _plain(tower)(rows, attn_mask=CAUSAL[:140, :140])
    )


def _plain(tower: nn.Module) -> nn.Module:
    copied = copy.deepcopy(tower)
    for part in copied.modules():
        if isinstance(part, SelfAttention):
            part.__class__ = nn.MultiheadAttention
    return copied


def of_tower(visual: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """Features and every gradient of a fixed scalar."""
    visual.zero_grad()
    out = visual(images)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    return [out.detach(), *(parameter.grad for parameter in visual.parameters())]


def image_tower(**options) -> VisionTransformer:
    torch.manual_seed(3)
    sizes = {"image_size": 16, "patch_size": 4, "width": 24, "layers": 2, "heads": 3, "mlp_ratio": 2, "output_dim": 8}
    return VisionTransformer(**(sizes | options)).double()


@pytest.mark.parametrize("options", [{}, {"final_ln_after_pool": True, "ls_init_value": 0.5}, {"patch_dropout": 0.0}])
@pytest.mark.parametrize("packed", [True, False])
def test_a_last_block_that_computes_the_first_token_alone_changes_nothing(options, packed):
    plain = image_tower(**options)
    own = copy.deepcopy(plain)
    if packed:
        pack_attention(own)
    assert compute_first_token(own)
    assert own.transformer(torch.randn(2, 17, 24).double()).shape == (2, 1, 24)
    images = torch.randn(5, 3, 16, 16, dtype=torch.float64)
    for ours, theirs in zip(of_tower(own, images), of_tower(plain, images), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize(
    "options", [{"pool_type": "avg"}, {"output_tokens": True}, {"attentional_pool": True}, {"qk_norm": True}]
)
def test_a_tower_that_reads_more_than_its_first_token_keeps_its_last_block(options):
    tower = image_tower(**options)
    assert not compute_first_token(tower)
    assert type(tower.transformer.resblocks[-1]).__name__ != "FirstTokenBlock"


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["auto", "math"])
def test_a_causal_tower_gives_the_same_as_its_mask(kind, name):
    """To the last bit, on a CPU: only the way in which the kernel learns of the mask differs."""
    found = []
    for causal in (False, True):
        _, own = pair()
        own.causal = causal
        with kernel(name):
            found.append(outcome(own.to(kind), torch.linspace(-2, 2, 3 * 20 * 24, dtype=kind).view(3, 20, 24), MASK))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize(("mask", "causal"), [(CAUSAL[:5, :5], True), (CAUSAL[:5, :5].T, False), (None, False)])
def test_a_tower_is_causal_if_its_mask_is(mask, causal):
    tower = Transformer(width=16, layers=1, heads=2)
    pack_attention(tower, mask)
    assert tower.resblocks[0].attn.causal is causal
