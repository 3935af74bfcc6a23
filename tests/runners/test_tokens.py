"""Tokens that loader workers make: those of the model, without the model, in another process of any kind."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import drawn
from lavis.common.registry import registry
from lavis.datasets.annotations import Entry
from lavis.datasets.pairs import PairDataset
from lavis.hub.tokenizers import OpenClipTokens, TransformersTokens, clip_tokenizer
from lavis.models import base
from lavis.models.base import BaseModel, CaptionTokens
from lavis.processors.image import ClipImageTrain
from lavis.processors.text import ClipCaption
from lavis.runners.feed import Feed
from lavis.settings.schema import ModelConfig, RunConfig
from tests.noise import save_image

TEXTS = [
    "Ana Lópe\u0301z, +44 7911 123456",
    "a",
    "IBAN GB29 NWBK 6016 1331 9268 19",
    "日本語 🙂 & &amp; <b>",
    "a " * 90,
]


@pytest.fixture(scope="module")
def model() -> BaseModel:
    return registry.get_model_class("clip").from_config(ModelConfig(model_type=drawn.tiny_model().stem))


@pytest.fixture(scope="module")
def kinds(model) -> dict[str, base.Tokenize]:
    """Tokenizers of both libraries; open_clip's with and without captions of full length."""
    inner = model._tokenizer.tokenizer
    options = {"truncation": True, "max_length": 77, "return_tensors": "pt", "padding": "longest"}
    return {
        "open_clip": OpenClipTokens(inner),
        "open_clip, short": OpenClipTokens(inner, short=True),
        "transformers": TransformersTokens(clip_tokenizer(77), options),
    }


KINDS = pytest.mark.parametrize("kind", ["open_clip", "open_clip, short", "transformers"])


@KINDS
def test_a_pickled_copy_makes_the_same_tokens(kinds, kind):
    """What a worker that is not forked gets."""
    tokens = CaptionTokens(kinds[kind], padding=3)
    tokens.lengths = (16, 32, 77)
    expected = tokens(TEXTS)
    sent = pickle.loads(pickle.dumps(tokens))  # noqa: S301 - our own bytes
    assert sent._known == {} and torch.equal(sent(TEXTS), expected)
    assert expected.dtype == torch.int64 and expected.shape == (len(TEXTS), 77)


@KINDS
@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(TEXTS[:4]) | st.text(min_size=1, max_size=12), min_size=1, max_size=5))
def test_known_captions_change_nothing(kinds, kind, captions):
    tokens = CaptionTokens(kinds[kind])
    first, again = tokens(captions), tokens(captions)
    rows = [kinds[kind]([caption])[0] for caption in captions]
    assert torch.equal(first, again) and first.shape[1] == max(map(len, rows))
    assert all(
        torch.equal(found[: len(row)], row) and not found[len(row) :].any()
        for found, row in zip(first, rows, strict=True)
    )


def test_copies_of_a_model_share_its_tokenizer(model):
    twin = copy.deepcopy(model)
    assert twin._tokenizer is model._tokenizer and twin._tokens is not model._tokens
    assert torch.equal(twin.tokenize(TEXTS), model.tokenize(TEXTS))


def test_a_worker_remembers_so_many_captions_and_no_more(kinds, monkeypatch):
    tokens = CaptionTokens(kinds["open_clip"])
    monkeypatch.setattr(base, "MOST_KNOWN", 2)
    monkeypatch.setattr(base, "get_worker_info", lambda: SimpleNamespace(id=0))
    assert torch.equal(tokens(TEXTS), CaptionTokens(kinds["open_clip"])(TEXTS)) and len(tokens._known) == 2
    monkeypatch.setattr(base, "get_worker_info", lambda: None)
    tokens(TEXTS)
    assert len(tokens._known) == len(TEXTS)


@pytest.fixture(scope="module")
def feed(model, tmp_path_factory) -> Callable[[int], Feed]:
    root = tmp_path_factory.mktemp("images")
    for i in range(12):
        save_image(root / f"{i}.png", i)
    rows = [Entry(f"{i}.png", (f"caption {i}", TEXTS[i % len(TEXTS)])) for i in range(12)]
    parts = {"df": rows[:5], "dr": rows[5:]}
    sets = {name: PairDataset(part, root, ClipImageTrain(8), ClipCaption()) for name, part in parts.items()}

    def make(workers: int) -> Feed:
        return Feed(sets, model, RunConfig(batch_size_train=4, max_epoch=2, num_workers=workers), torch.device("cpu"))

    return make


@pytest.mark.parametrize("lengths", [(), (8, 20, 77)], ids=["as long as the longest", "padded for compiled blocks"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_have_the_tokens_that_the_model_prepares(feed, model, monkeypatch, workers, lengths):
    monkeypatch.setattr(model, "text_lengths", lengths)
    prepare, source = model.prepare, feed(workers)
    monkeypatch.setattr(model, "prepare", lambda rows: pytest.fail("the main process has tokenised"))
    batches = [batch for epoch in (0, 1) for batch in source.batches(epoch, 0)]
    source.close()
    assert len(batches) == 6
    for batch in batches:
        for rows in batch.sets.values():
            expected = prepare({"captions": rows["captions"]})["tokens"]
            assert torch.equal(rows["tokens"], expected)
            assert not lengths or expected.shape[1] in lengths


def test_a_model_that_prepares_more_than_tokens_does_it_itself(feed, model, monkeypatch):
    monkeypatch.setattr(model, "caption_tokens", lambda: None)
    monkeypatch.setattr(model, "prepare", lambda rows: {"tokens": torch.tensor([len(c) for c in rows["captions"]])})
    source = feed(1)
    rows = next(iter(source.batches(0, 0))).sets["df"]
    source.close()
    assert rows["tokens"].tolist() == list(map(len, rows["captions"])) and "images" in rows
