"""blip_vqa: its facts, each against a computation of its own."""

from __future__ import annotations

import pytest
import torch

from lavis.common.errors import ConfigError, DataError
from lavis.common.features import FusedFeatures
from lavis.models.base import TrainingStep
from tests.models.blip_small import DEC, ENC, SEP, TEXTS, calls, image_batch, lively, transformers_text

ANSWERS = [["a dog"], ["a red car", "tree"], ["two", "people", "two people"]]
WEIGHTS = [[1.0], [0.75, 0.25], [0.5, 0.25, 0.25]]
LIST = ["a dog", "tree", "two people", "red", "a red car", "two", "grass", "the street"]


@pytest.fixture(scope="module")
def model():
    return lively("blip_vqa", decoder_depth=6)


@pytest.fixture(scope="module")
def rows():
    return {"images": image_batch(3), "captions": TEXTS, "answers": ANSWERS, "answer_weights": WEIGHTS}


@pytest.fixture(scope="module")
def inputs(model, rows):
    return model.prepare(rows)


def alone(model, rows, row: int):
    """One question without the others, so without padding."""
    return model.prepare({"images": rows["images"][row : row + 1], "captions": rows["captions"][row : row + 1]})


def answer_ids(model, text: str) -> torch.Tensor:
    pieces = model.tokenizer.pieces
    return torch.tensor([[DEC, *pieces.convert_tokens_to_ids(pieces.tokenize(text)), SEP]])


@torch.no_grad()
def smoothed_loss(decoder, states: torch.Tensor, ids: torch.Tensor) -> float:
    """Σ over tokens of 0.9·(−log p(token)) + 0.1·mean over words of (−log p), by transformers' decoder."""
    scores = decoder(input_ids=ids, encoder_hidden_states=states, attention_mask=torch.ones_like(ids)).logits
    logs = scores[0, :-1].double().log_softmax(dim=-1)
    return float(sum(-0.9 * row[word] - 0.1 * row.mean() for row, word in zip(logs, ids[0, 1:], strict=True)))


def losses_one_by_one(model, rows, row: int, texts: list[str]) -> list[float]:
    encoder, decoder = (transformers_text(model, part) for part in ("text_encoder", "text_decoder"))
    question = alone(model, rows, row)
    with torch.no_grad():
        states = encoder(
            input_ids=question["tokens"],
            attention_mask=question["mask"].long(),
            encoder_hidden_states=model.image_states(question["images"]),
            is_decoder=False,
        ).last_hidden_state
    return [smoothed_loss(decoder, states, answer_ids(model, text)) for text in texts]


def test_questions_begin_with_enc_and_answers_with_dec(model, inputs):
    assert inputs["tokens"][:, 0].tolist() == [ENC] * 3
    assert inputs["answer_tokens"][:, 0].tolist() == [DEC] * 6
    ends = inputs["answer_mask"].sum(dim=1) - 1
    assert inputs["answer_tokens"][torch.arange(6), ends].tolist() == [SEP] * 6
    assert inputs["answer_counts"].tolist() == [1, 2, 3]


def test_questions_are_cut_after_max_txt_len(model):
    long = model.prepare({"images": image_batch(1), "captions": ["dog " * 60]})
    assert long["tokens"].shape == (1, model.config.max_txt_len) == (1, 35)
    assert (long["tokens"][0, 0].item(), long["tokens"][0, -1].item()) == (ENC, SEP)


@torch.no_grad()
def test_represent_gives_image_states_and_fused_first_state(model, inputs):
    features = model.represent(inputs)
    assert isinstance(features, FusedFeatures)
    assert features.image_states.shape == (3, 17, 48)
    torch.testing.assert_close(features.fused, model.question_states(inputs)[:, 0], rtol=0, atol=1e-6)


@torch.no_grad()
def test_every_layer_of_encoder_and_decoder_attends_to_its_context(model, inputs):
    blocks = [layer.crossattention for layer in model.text_encoder.layers]
    seen = calls(blocks, lambda: model.question_states(inputs))
    assert [tuple(given[1].shape) for given in seen] == [(3, 17, 48)] * 6
    blocks = [layer.crossattention for layer in model.text_decoder.bert.layers]
    states = model.question_states(inputs)
    seen = calls(blocks, lambda: model.answer_logits(model.text_decoder, states, inputs))
    assert [tuple(given[1].shape) for given in seen] == [(6, *states.shape[1:])] * 6


def test_objective_is_the_sum_over_answers_one_by_one(model, rows, inputs):
    """Each answer alone, unpadded, by transformers' towers: Σ weight·loss over the number of questions."""
    expected = 0.0
    for row, (texts, weights) in enumerate(zip(ANSWERS, WEIGHTS, strict=True)):
        losses = losses_one_by_one(model, rows, row, texts)
        expected += sum(weight * loss for weight, loss in zip(weights, losses, strict=True)) / 3
    terms = model.objective(inputs, TrainingStep(3, 1, 2))
    assert list(terms) == ["lm"]
    assert terms["lm"].item() == pytest.approx(expected, rel=2e-5)
    terms["lm"].backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    model.zero_grad()


def test_ranking_is_that_of_every_answer_by_itself(model, rows, inputs):
    """The k likeliest first words, then the smallest summed loss among them; no division by length."""
    found = model.rank(inputs, LIST, 5)
    best = model.rank_answers(inputs, LIST, 5)
    decoder = transformers_text(model, "text_decoder")
    for row in range(3):
        states = model.question_states(alone(model, rows, row))
        with torch.no_grad():
            words = decoder(input_ids=torch.tensor([[DEC]]), encoder_hidden_states=states).logits[0, 0].softmax(dim=0)
        first = [float(words[answer_ids(model, text)[0, 1]]) for text in LIST]
        torch.testing.assert_close(found.first[row], torch.tensor(sorted(first)[::-1][:5]), rtol=1e-4, atol=1e-7)
        own = found.candidates[row].tolist()
        assert sorted(first[number] for number in own) == pytest.approx(sorted(first)[-5:])
        losses = losses_one_by_one(model, rows, row, [LIST[number] for number in own])
        assert (-found.scores[row]).tolist() == pytest.approx(losses, rel=2e-5)
        assert best[row].item() == own[losses.index(min(losses))]


def test_ranking_changes_no_weight(model, inputs):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.rank_answers(inputs, LIST, 3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_empty_answer_list_and_missing_answers_are_refused(model, rows, inputs):
    with pytest.raises(ConfigError, match="ranking needs a list of answers"):
        model.rank_answers(inputs, [], 3)
    with pytest.raises(DataError, match="at least one answer"):
        model.prepare({**rows, "answers": [["a dog"], [], ["two"]]})
    with pytest.raises(DataError, match="row 1 has an empty text"):
        model.prepare({**rows, "captions": ["what?", "", "why?"]})


def test_padded_questions_get_the_same_answers(model, rows, inputs):
    """What a question is batched with changes nothing, neither ranked nor generated."""
    assert not inputs["mask"].all()
    generated, ranked = model.generate(inputs), model.rank(inputs, LIST, 4)
    for row in range(3):
        own = alone(model, rows, row)
        single = model.rank(own, LIST, 4)
        torch.testing.assert_close(single.scores[0], ranked.scores[row], rtol=0, atol=2e-5)
        assert model.generate(own) == [generated[row]]


def generation_masks(model, inputs) -> torch.Tensor:
    """Masks (rows, question length) that the decoder's first cross-attention gets while it generates."""
    block = model.text_decoder.bert.layers[0].crossattention
    seen = calls([block], lambda: model.generate(inputs, num_beams=2, max_length=3))
    return torch.stack([given[2].flatten(1) for given in seen])


def test_generation_attends_to_question_padding_only_where_asked(inputs, rows):
    honoured = lively("blip_vqa", decoder_depth=6)
    published = lively("blip_vqa", decoder_depth=6, attend_padding_in_generation=True)
    assert torch.equal(generation_masks(honoured, inputs)[0], inputs["mask"].repeat_interleave(2, dim=0))
    assert generation_masks(published, inputs).all()
    assert honoured.rank_answers(inputs, LIST, 4).tolist() == published.rank_answers(inputs, LIST, 4).tolist()


@pytest.mark.parametrize("beams", [1, 3])
def test_generated_text_is_that_of_transformers(model, rows, beams):
    """[DEC] to [SEP] at most ten tokens, special tokens left out of the text; one question at a time."""
    decoder = transformers_text(model, "text_decoder")
    for row in range(3):
        question = alone(model, rows, row)
        states = model.question_states(question).detach()
        ids = decoder.generate(
            input_ids=torch.tensor([[DEC]]),
            encoder_hidden_states=states,
            encoder_attention_mask=torch.ones(states.shape[:2]),
            eos_token_id=SEP,
            pad_token_id=0,
            num_beams=beams,
            max_length=10,
            do_sample=False,
        )
        assert model.generate(question, num_beams=beams) == model.tokenizer.decode(ids)
