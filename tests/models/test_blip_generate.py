"""Beam search against exhaustive search, a plain greedy loop, and transformers' generation."""

from __future__ import annotations

import itertools

import pytest
import torch

from lavis.models.fused.blip_generate import Hypotheses, beam_search
from tests.models.blip_small import DEC, SEP, lively, transformers_text

START, END = 0, 1


def chain(rows: int, words: int, seed: int) -> torch.Tensor:
    """Log-probabilities (rows, last two tokens, next token): a second-order chain."""
    draw = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(rows, words, words, words, generator=draw, dtype=torch.float64)).log_softmax(dim=-1)


def logits_of(table: torch.Tensor, beams: int):
    def next_logits(ids: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(table)).repeat_interleave(beams)
        before = ids[:, -2] if ids.shape[1] > 1 else torch.zeros(len(ids), dtype=torch.long)
        return table[rows, before, ids[:, -1]]

    return next_logits


def log_probability(table: torch.Tensor, tokens: tuple[int, ...]) -> float:
    """Of one row's tokens, start token excluded."""
    padded = (START, START, *tokens)
    return sum(float(table[a, b, c]) for a, b, c in zip(padded, padded[1:], padded[2:], strict=False))


def best_by_trying_all(table: torch.Tensor, max_length: int, penalty: float) -> list[int]:
    """Every finished sequence, and every unfinished one of full length, scored; the best without its end token."""
    words = [w for w in range(len(table)) if w != END]
    scored = []
    for length in range(max_length):
        for tokens in itertools.product(words, repeat=length):
            if length < max_length - 1:
                score = log_probability(table, (*tokens, END)) / (length + 1) ** penalty
            else:
                score = log_probability(table, tokens) / max_length**penalty
            scored.append((score, list(tokens)))
    return max(scored)[1]


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_many_beams_find_the_best_sequence(seed, penalty):
    table, beams = chain(3, 4, seed), 64
    found = beam_search(
        logits_of(table, beams), 3, start=START, end=END, beams=beams, max_length=5, length_penalty=penalty
    )
    assert [ids.tolist() for ids in found] == [best_by_trying_all(row, 5, penalty) for row in table]


@pytest.mark.parametrize("seed", range(4))
def test_one_beam_is_greedy(seed):
    table = chain(5, 6, seed)
    found = beam_search(logits_of(table, 1), 5, start=START, end=END, beams=1, max_length=8)
    for row, ids in zip(table, found, strict=True):
        expected, before, last = [], START, START
        while len(expected) < 7:
            word = int(row[before, last].argmax())
            if word == END:
                break
            expected.append(word)
            before, last = last, word
        assert ids.tolist() == expected


def test_rows_do_not_influence_each_other():
    table = chain(4, 6, 9)
    together = beam_search(logits_of(table, 3), 4, start=START, end=END, beams=3)
    alone = [beam_search(logits_of(row[None], 3), 1, start=START, end=END, beams=3)[0] for row in table]
    assert [ids.tolist() for ids in together] == [ids.tolist() for ids in alone]


def test_hypotheses_keep_the_best_by_score_per_length():
    """-3 over 3 tokens (-1 each) beats -4 over 2 (-2 each); -6 over 2 (-3 each) is dropped."""
    kept = Hypotheses(beams=2, length_penalty=1.0)
    for total, length in ((-4.0, 2), (-6.0, 2), (-3.0, 3)):
        kept.add(torch.zeros(length), total)
    assert [score for score, _ in kept.kept] == [-1.0, -2.0]
    kept.check(best_total=-5.0, length=3)
    assert not kept.done  # -5/3 would still beat -2
    kept.check(best_total=-6.0, length=3)
    assert kept.done  # -6/3 no longer does


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_generation_is_that_of_transformers(seed, beams):
    """The same decoder and weights, the end made likely enough that answers end at different lengths.

    Scores are compared without their length: transformers 5 counts an unfinished sequence without the start token,
    the version that BLIP was published with counts it whole, as here.
    """
    model = lively("blip_vqa", seed, decoder_depth=6)
    with torch.no_grad():
        model.text_decoder.cls["predictions"].bias[SEP] += 2.0
    states = torch.randn(6, 7, 48)
    other = transformers_text(model, "text_decoder")
    expected = other.generate(
        input_ids=torch.full((6, 1), DEC),
        encoder_hidden_states=states,
        encoder_attention_mask=torch.ones(6, 7),
        eos_token_id=SEP,
        pad_token_id=0,
        num_beams=beams,
        length_penalty=0.0,
        max_length=10,
        min_length=1,
        do_sample=False,
    )
    rows = states.repeat_interleave(beams, dim=0)
    own = beam_search(
        lambda ids: model.text_decoder(ids, torch.ones_like(ids), rows, None)[:, -1],
        6,
        start=DEC,
        end=SEP,
        beams=beams,
        length_penalty=0.0,
    )
    wanted = [[t for t in row if t != 0][1:] for row in expected.tolist()]
    assert [ids.tolist() for ids in own] == [row[: row.index(SEP)] if SEP in row else row for row in wanted]
