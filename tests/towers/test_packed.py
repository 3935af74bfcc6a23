"""Captions without the padding between them give what padded ones give, in values and gradients."""

from __future__ import annotations

import copy

import open_clip
import pytest
import torch

from benchmarks import drawn
from lavis.towers.fast import encode_short, use_fast_paths
from lavis.towers.layout import Layout

END = 49407
TOKENS = torch.tensor([[1, 5, END, 0, 0], [2, 3, 4, 6, END], [7, END, 0, 0, 0]])


def towers() -> tuple[open_clip.CLIP, open_clip.CLIP]:
    """A CLIP in double precision, and the same one with the fast paths."""
    torch.manual_seed(0)
    text = {**drawn.TINY["text_cfg"], "layers": 2}
    plain = open_clip.CLIP(drawn.TINY["embed_dim"], drawn.TINY["vision_cfg"], text).double()
    fast = copy.deepcopy(plain)
    use_fast_paths(fast, "true", "tiny")
    return plain, fast


def test_a_layout_finds_every_token_again():
    layout = Layout.of(TOKENS)
    rows = torch.arange(15.0).view(3, 5, 1)
    packed = layout.pack(rows)
    assert packed.flatten().tolist() == [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]
    assert layout.ends.tolist() == [2, 7, 9]
    assert layout.unpack(packed)[..., 0].tolist() == [[0, 1, 2, 0, 0], [5, 6, 7, 8, 9], [10, 11, 0, 0, 0]]


@pytest.mark.parametrize("recomputed", [False, True])
def test_values_and_gradients_are_open_clips(recomputed):
    plain, fast = towers()
    fast.set_grad_checkpointing(recomputed)
    whole = torch.nn.functional.pad(TOKENS, (0, plain.context_length - TOKENS.shape[1]))
    expected, found = plain.encode_text(whole), encode_short(fast, TOKENS)
    torch.testing.assert_close(found, expected)
    for one in (expected, found):
        one.square().mul(torch.linspace(-1, 1, one.numel(), dtype=one.dtype).view_as(one)).sum().backward()
    for (name, one), other in zip(plain.named_parameters(), fast.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, msg=name)
    assert all(block.attn.layout is None for block in fast.transformer.resblocks)


def test_layers_see_no_padding():
    _, fast = towers()
    rows = []
    for block in fast.transformer.resblocks:
        block.mlp.register_forward_hook(lambda _, given, out: rows.append(out.shape[:2]))
    encode_short(fast, TOKENS)
    assert rows == [(1, 10), (1, 3)]  # of the last block, the last tokens alone
