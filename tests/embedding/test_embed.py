"""Embedding a split: each distinct image and caption once, in canonical chunks, in evaluation mode."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lavis.embedding.embed import embed_captions, embed_entries
from tests.evaluation.world import FakeModel, noise_pairs

CAPTIONS = [("red", "blue"), ("green",), ("red",), ("x", "y", "red"), ("blue",)]


@pytest.fixture
def dataset(tmp_path):
    return noise_pairs(tmp_path, CAPTIONS)


def test_rows_groups_and_norms(dataset):
    found = embed_entries(FakeModel(), dataset, 2, "cpu")
    assert found.txt2img.tolist() == [0, 0, 1, 2, 3, 3, 3, 4]
    assert found.text_group.tolist() == [0, 1, 2, 0, 3, 4, 0, 1]
    model = FakeModel().eval()
    flat = [c for captions in CAPTIONS for c in captions]
    expected = F.normalize(model.encode_text(model.tokenize(flat)), dim=-1)
    torch.testing.assert_close(found.text, expected.detach())
    torch.testing.assert_close(found.image, F.normalize(model.encode_image(dataset.images(range(5))), dim=-1).detach())
    assert found.image.dtype == found.text.dtype == torch.float32
    assert not found.image.requires_grad and not found.image.is_inference()


def test_each_distinct_caption_is_embedded_once_in_canonical_chunks(dataset):
    model = FakeModel()
    embed_entries(model, dataset, 2, "cpu")
    assert model.seen_captions == ["red", "blue", "green", "x", "y"]
    assert model.seen_images == [2, 2, 1]


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_in_evaluation_mode_while_embedding(dataset, training):
    model = FakeModel().train(training)
    first = embed_entries(model, dataset, 3, "cpu")
    assert model.training is training and model.dropout.training is training
    assert torch.equal(first.image, embed_entries(model, dataset, 3, "cpu").image)


def test_the_mode_is_restored_after_an_error(dataset):
    model = FakeModel().train()
    model.encode_text = None
    with pytest.raises(TypeError):
        embed_entries(model, dataset, 3, "cpu")
    assert model.training


def test_paired_cosines_compare_each_caption_with_its_image(dataset):
    found = embed_entries(FakeModel(), dataset, 4, "cpu")
    expected = [float(found.image[i].double() @ t.double()) for i, t in zip(found.txt2img, found.text, strict=True)]
    assert found.paired_cosines.tolist() == pytest.approx(expected, abs=1e-15)


def test_autocast_and_workers(dataset):
    plain = embed_entries(FakeModel(), dataset, 2, "cpu", num_workers=1)
    assert torch.equal(plain.image, embed_entries(FakeModel(), dataset, 2, "cpu").image)
    cast = embed_entries(FakeModel(), dataset, 2, "cpu", amp_dtype=torch.bfloat16)
    assert cast.image.dtype == torch.float32 and not torch.equal(plain.image, cast.image)
    torch.testing.assert_close(plain.image, cast.image, atol=0.02, rtol=0)


def test_the_progress_bar_is_hidden_without_a_terminal(dataset, capfd):
    embed_entries(FakeModel(), dataset, 2, "cpu", name="df")
    assert capfd.readouterr() == ("", "")


def test_captions_alone_give_the_same_rows_as_the_split(dataset):
    model = FakeModel()
    flat = [caption for captions in CAPTIONS for caption in captions]
    rows = embed_captions(model, flat, 2, "cpu")
    assert model.seen_captions == ["red", "blue", "green", "x", "y"]
    assert torch.equal(rows, embed_entries(FakeModel(), dataset, 2, "cpu").text) and not rows.is_inference()
