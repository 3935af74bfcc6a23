"""Data sets of questions, labels and pairs of images."""

from __future__ import annotations

import pytest
import torch

from lavis.common.errors import DataError, MissingFile
from lavis.datasets.annotations import Entry
from lavis.datasets.partition import split_forget
from lavis.datasets.rows import LabelledDataset, MirroredDataset, QuestionDataset
from lavis.processors.image import ClipImageEval
from lavis.processors.text import ClipCaption
from tests.noise import save_image


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    for i in range(4):
        save_image(path / f"{i}.png", i, 8)
    return path


def pair(left, right, text="the left image shows a dog", label=1):
    return Entry(f"{left}.png", (text,), None, {"label": label}, f"{right}.png")


def make(kind, root, entries, **options):
    return kind(entries, root, ClipImageEval(8), ClipCaption(), **options)


def single(root, number):
    return make(LabelledDataset, root, [Entry(f"{number}.png", ("x",), None, {"label": 0})]).images([0])[0]


def test_questions_have_answers_and_weights(root):
    facts = {"answers": ["a", "b"], "answer_weights": [0.7, 0.3]}
    rows = [Entry("0.png", ("q",), 5, facts), Entry("0.png", ("r",), 5, facts), Entry("1.png", ("s",), 6, facts)]
    batch = make(QuestionDataset, root, rows).batch([2, 0, 1], 0)
    assert batch["answers"] == [["a", "b"]] * 3 and batch["answer_weights"] == [[0.7, 0.3]] * 3
    assert batch["captions"] == ["s", "q", "r"] and batch["image_ids"].tolist() == [1, 0, 0]


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_two_images_per_row(root, cache):
    data = make(LabelledDataset, root, [pair(0, 1), pair(2, 0, label=0)], cache=cache)
    for _ in range(2):
        batch = data.batch([1, 0], 0)
        assert batch["images"].shape == (2, 2, 3, 8, 8) and batch["labels"].tolist() == [0, 1]
        assert torch.equal(batch["images"][0, 0], single(root, 2))
        assert torch.equal(batch["images"][0, 1], batch["images"][1, 0])
    assert data.in_memory is (cache == "memory")


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_images_and_words_are_swapped_together(root, cache):
    data = make(MirroredDataset, root, [pair(0, 1)], cache=cache)
    assert data.views is None
    seen = set()
    for epoch in range(20):
        batch = data.batch([0], epoch)
        left = torch.equal(batch["images"][0, 0], single(root, 0))
        assert batch["captions"] == [f"the {'left' if left else 'right'} image shows a dog"]
        assert torch.equal(batch["images"][0, 1], single(root, 1 if left else 0)) and batch["labels"].tolist() == [1]
        assert data.captions[batch["caption_id"][0]] == batch["captions"][0]
        seen.add(left)
    assert seen == {True, False}


def test_mirrored_rows_need_two_images(root):
    with pytest.raises(DataError, match=r"'0\.png': expected one statement about two images"):
        make(MirroredDataset, root, [Entry("0.png", ("x",), None, {"label": 0})])


def test_errors_name_a_missing_right_image(root):
    with pytest.raises(MissingFile, match=r"1 of 2 images do not exist under .*, the first: 9\.png"):
        make(LabelledDataset, root, [pair(0, 9)])


def test_a_bad_right_image_skips_the_row(root, tmp_path):
    for i in range(3):
        save_image(tmp_path / f"{i}.png", i, 8)
    (tmp_path / "1.png").write_bytes(b"nothing")
    data = make(LabelledDataset, tmp_path, [pair(0, 1), pair(0, 2)], on_bad_image="skip")
    assert [entry.images for entry in data.entries] == [("0.png", "2.png")] and data.skipped == 1


def test_a_row_is_forgotten_with_either_image():
    rows = [pair(0, 1), pair(2, 3), pair(3, 0), pair(4, 5)]
    df, dr = split_forget(rows, ["3.png", "0.png"], "L")
    assert [e.images for e in df] == [("2.png", "3.png"), ("3.png", "0.png"), ("0.png", "1.png")]
    assert [e.images for e in dr] == [("4.png", "5.png")]


def test_a_listed_image_may_share_its_row_with_another():
    df, _ = split_forget([pair(0, 1), pair(2, 3)], ["0.png", "1.png"], "L")
    assert len(df) == 1
    with pytest.raises(DataError, match="1 of 2 forget ids of L match no training annotation, the first: 7.png"):
        split_forget([pair(0, 1), pair(2, 3)], ["0.png", "7.png"], "L")
