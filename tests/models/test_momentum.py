"""Momentum copies, the queue's rows from several processes, and the text layers' masks."""

from __future__ import annotations

import sys

import torch
from torch import nn

from lavis.common.distributed import gather_rows
from lavis.models.fused.momentum import follow, frozen_copy
from lavis.models.fused.text import AttentionBlock, TextDecoder, TextEncoder, TextSizes
from tests.processes import run

SIZES = TextSizes(vocab=20, width=16, depth=3, heads=2, ffn=32, positions=12, context=8, dropout=0.0)
GATHER = """
import torch, torch.distributed as dist
from lavis.common import distributed
from lavis.common.distributed import gather_rows
dist.init_process_group("gloo")
rank = dist.get_rank()
rows = torch.arange(2 + rank)[:, None] + 10.0 * rank
assert gather_rows(rows).flatten().tolist() == [0, 1, 10, 11, 12], gather_rows(rows)
assert gather_rows(torch.arange(1 + rank)).tolist() == [0, 0, 1]
distributed.shutdown()
"""


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.two.weight = self.one.weight


def test_copies_follow_and_keep_their_ties():
    online = Tied()
    slow = frozen_copy(online)
    assert slow.one.weight is slow.two.weight and slow.one.weight is not online.one.weight
    with torch.no_grad():
        online.one.weight.fill_(1.0)
        slow.one.weight.fill_(0.0)
    follow([(online, slow)], 0.75)
    torch.testing.assert_close(slow.two.weight, torch.full((2, 2), 0.25))
    assert not slow.one.weight.requires_grad and online.one.weight.requires_grad


def test_rows_of_one_process_are_its_own():
    rows = torch.randn(3, 2, requires_grad=True)
    assert torch.equal(gather_rows(rows), rows) and not gather_rows(rows).requires_grad


def test_rows_of_two_processes_in_the_order_of_ranks(tmp_path):
    script = tmp_path / "gather.py"
    script.write_text(GATHER)
    done = run([sys.executable, str(script)], processes=2)
    assert done.returncode == 0, done.stderr


@torch.no_grad()
def test_a_masked_context_is_not_read():
    torch.manual_seed(0)
    encoder = TextEncoder(SIZES, lambda index: AttentionBlock(SIZES, 8) if index else None).eval()
    tokens, mask = torch.randint(0, 20, (2, 5)), torch.ones(2, 5)
    context, seen = torch.randn(2, 4, 8), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    states = encoder(tokens, mask, context, seen)
    short = encoder(tokens[:1], mask[:1], context[:1, :2])
    torch.testing.assert_close(states[:1], short, atol=1e-6, rtol=0)
    torch.testing.assert_close(states[1:], encoder(tokens[1:], mask[1:], context[1:]), atol=1e-6, rtol=0)
    assert not torch.allclose(encoder(tokens[:1], mask[:1], context[:1]), short)


@torch.no_grad()
def test_text_and_fusion_passes_make_the_whole():
    encoder = TextEncoder(SIZES, lambda index: AttentionBlock(SIZES, 8) if index > 1 else None).eval()
    tokens, mask, context = torch.randint(0, 20, (2, 5)), torch.ones(2, 5), torch.randn(2, 4, 8)
    text = encoder(tokens, mask, last=2)
    assert torch.equal(encoder(text, mask, context, first=2), encoder(tokens, mask, context))


@torch.no_grad()
def test_a_decoder_sees_no_later_token():
    torch.manual_seed(0)
    decoder = TextDecoder(SIZES).eval()
    tokens, context = torch.randint(0, 20, (1, 6)), torch.randn(1, 3, 8)
    other = tokens.clone()
    other[0, 4:] = (other[0, 4:] + 1) % 20
    ones = torch.ones(1, 6)
    first, second = (decoder(ids, ones, context, None) for ids in (tokens, other))
    torch.testing.assert_close(first[:, :4], second[:, :4], atol=1e-6, rtol=0)
    assert not torch.allclose(first[:, 4], second[:, 4])


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    sizes = TextSizes(**{**vars(SIZES), "dropout": 0.5})
    encoder = TextEncoder(sizes, lambda index: None)
    tokens, mask = torch.randint(0, 20, (1, 5)), torch.ones(1, 5)
    assert not torch.equal(encoder(tokens, mask), encoder(tokens, mask))
    encoder.eval()
    assert torch.equal(encoder(tokens, mask), encoder(tokens, mask))
