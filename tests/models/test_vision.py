"""The image encoder of ALBEF and BLIP against timm's own attention."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import Attention, VisionTransformer

from lavis.common.errors import ConfigError
from lavis.models.fused.config import FusedConfig
from lavis.models.fused.vision import TokenAttention, build_vision

SIZES = {"vision_width": 24, "vision_depth": 2, "vision_heads": 3, "patch_size": 4}


def encoders(image_size: int) -> list[VisionTransformer]:
    """The encoder with the rewritten attention, and the same weights with timm's own."""
    found = []
    for fast, attention in (("auto", TokenAttention), ("false", Attention)):
        torch.manual_seed(0)
        found.append(build_vision(FusedConfig(image_size=image_size, fast_towers=fast, **SIZES)).double())
        assert {type(block.attn) for block in found[-1].blocks} == {attention}
    assert list(found[0].state_dict()) == list(found[1].state_dict())
    return found


@pytest.mark.parametrize("image_size", [8, 48])  # 5 and 145 tokens: torch's kernel, and the project's
def test_values_and_gradients_are_timms(image_size):
    images = torch.randn(3, 3, image_size, image_size, dtype=torch.float64)
    found = []
    for encoder in encoders(image_size):
        out = encoder(images)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found.append([out.detach(), *(parameter.grad for parameter in encoder.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-11, rtol=1e-9)


def test_a_mask_goes_to_timm():
    own, plain = encoders(8)
    rows, mask = torch.randn(2, 5, 24, dtype=torch.float64), torch.ones(5, 5, dtype=torch.bool).tril()
    torch.testing.assert_close(own.blocks[0].attn(rows, attn_mask=mask), plain.blocks[0].attn(rows, attn_mask=mask))
    assert not torch.equal(own.blocks[0].attn(rows), own.blocks[0].attn(rows, attn_mask=mask))


def test_an_unknown_choice_is_named():
    with pytest.raises(ConfigError, match="model.fast_towers is 'none'"):
        build_vision(FusedConfig(image_size=8, fast_towers="none", **SIZES))
