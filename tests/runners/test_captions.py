"""Captions beyond the context length are counted and shown, refused, or split."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.errors import DataError
from lavis.datasets.annotations import Entry
from lavis.models.clip import ClipModel
from lavis.runners.captions import CaptionLimit
from lavis.settings.schema import ModelConfig
from tests.hub.folders import PLAIN, open_clip_folder, transformers_folder

LONG = "a portrait of Ada Lovelace who lives at number twelve of a street whose name is a secret"


@pytest.fixture(scope="module", params=["open_clip", "transformers", "siglip"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("m") / "model"
    source = open_clip_folder(folder, PLAIN) if request.param == "open_clip" else None
    source = source or transformers_folder(folder, "clip" if request.param == "transformers" else "siglip")
    return ClipModel.from_config(ModelConfig(model_type=source)).eval()


def entries(*captions):
    return [Entry(f"{i}.jpg", (caption,)) for i, caption in enumerate(captions)]


def test_what_is_cut_off_is_said(model):
    limit = CaptionLimit(model, "warn")
    rows = entries("short", LONG, LONG)
    assert limit.training(rows) == rows and len(limit.counts) == 1
    assert limit.notice().startswith("1 captions have more than the 12 tokens") and "secret" not in limit.notice()
    assert "characters" in limit.notice()


def test_stop_refuses(model):
    with pytest.raises(DataError, match=r"more than the 12 tokens .* set run.long_captions=split or warn"):
        CaptionLimit(model, "stop").training(entries(LONG))
    CaptionLimit(model, "stop").training(entries("short"))


def test_split_loses_no_word(model):
    limit = CaptionLimit(model, "split")
    (one, two) = limit.training(entries("short", LONG))
    assert one.captions == ("short",) and " ".join(two.captions) == LONG and len(two.captions) > 1
    assert max(model.token_counts(list(two.captions))) <= 12


@settings(deadline=None, max_examples=40)
@given(text=st.text(st.sampled_from("ab é.9-"), min_size=1, max_size=80).filter(str.strip))
def test_pieces_fit_and_hold_every_letter(text):
    limit = CaptionLimit(_plain(), "split")
    pieces = limit.pieces(text)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert max(limit.model.token_counts(pieces)) <= 12


def _plain():
    from open_clip import SimpleTokenizer

    from lavis.hub.tokenizers import token_counts

    class Counting(torch.nn.Module):
        recipe = type("R", (), {"context_length": 12})
        tokenizer = SimpleTokenizer(context_length=12)

        def token_counts(self, captions):
            return token_counts(self.tokenizer, captions)

    return Counting()
