"""Annotation formats of VQA, NLVR2 and SNLI-VE: what is read, and one message for each error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavis.common.errors import DataError
from lavis.datasets.annotations import read_annotations
from lavis.datasets.formats import hypothesis_entry, mirrored, question_entry, statement_entry

QUESTION = {"question_id": 9, "question": "What is it?", "image": "a.jpg", "dataset": "vqa", "answer": ["net"] * 7}
STATEMENT = {"images": ["l.png", "r.png"], "sentence": "Both show dogs.", "label": "True", "identifier": "x-0"}
HYPOTHESIS = {"image": "4705552913", "sentence": "A man sleeps.", "label": "neutral"}


def test_answers_are_weighted_by_their_share():
    entry = question_entry({**QUESTION, "answer": ["net"] * 7 + ["mesh"] * 2 + ["web"]}, "W")
    assert entry.captions == ("What is it?",) and entry.images == ("a.jpg",)
    assert entry.extra["answers"] == ["net", "mesh", "web"] and entry.extra["question_id"] == 9
    assert entry.extra["answer_weights"] == pytest.approx([0.7, 0.2, 0.1]) and len(entry.extra["given"]) == 10


def test_visual_genome_has_one_answer_with_a_weight_of_a_fifth():
    entry = question_entry({**QUESTION, "answer": "net", "dataset": "vg"}, "W")
    assert (entry.extra["answers"], entry.extra["answer_weights"]) == (["net"], [0.2])


def test_a_question_may_lack_answers():
    item = {key: value for key, value in QUESTION.items() if key != "answer"}
    assert question_entry(item, "W").extra["answers"] == []


def test_statements_have_two_images_and_a_label():
    entry = statement_entry(STATEMENT, "W")
    assert entry.images == ("l.png", "r.png") and entry.extra == {"identifier": "x-0", "label": 1}
    assert statement_entry({**STATEMENT, "label": False}, "W").extra["label"] == 0


@pytest.mark.parametrize(
    ("image", "path"),
    [
        ("4705552913", "flickr30k-images/4705552913.jpg"),
        (4705552913, "flickr30k-images/4705552913.jpg"),
        ("4705552913.jpg", "flickr30k-images/4705552913.jpg"),
        ("flickr30k-images/1.jpg", "flickr30k-images/1.jpg"),
    ],
)
def test_hypotheses_name_images_as_flickr30k_does(image, path):
    assert hypothesis_entry({**HYPOTHESIS, "image": image}, "W").image == path


def test_labels_have_the_published_order():
    labels = [hypothesis_entry({**HYPOTHESIS, "label": name}, "W").extra["label"] for name in
              ("contradiction", "neutral", "entailment")]  # fmt: skip
    assert labels == [0, 1, 2]


@pytest.mark.parametrize(
    ("parse", "item", "change", "message"),
    [
        (question_entry, QUESTION, {"question": "  "}, r"W: empty question; fill it in"),
        (question_entry, QUESTION, {"question": None}, "'question' contains null, which is not a string"),
        (question_entry, QUESTION, {"image": ""}, "W: 'image' must be a path"),
        (question_entry, QUESTION, {"answer": 3}, "'answer' must be a string or a list of strings, found 3"),
        (question_entry, QUESTION, {"answer": ["net", ""]}, "empty answer"),
        (statement_entry, STATEMENT, {"images": ["l.png"]}, r"'images' must name two images, .* found \['l.png'\]"),
        (statement_entry, STATEMENT, {"images": ["l.png", None]}, "the right image is missing"),
        (statement_entry, STATEMENT, {"images": ["", "r.png"]}, "the left image is missing"),
        (statement_entry, STATEMENT, {"label": "maybe"}, "label 'maybe' is not in the class list; valid: False, True"),
        (statement_entry, STATEMENT, {"sentence": ""}, "empty sentence"),
        (hypothesis_entry, HYPOTHESIS, {"label": "-"}, "label '-' is not in the class list; valid: contradiction, neu"),
        (hypothesis_entry, HYPOTHESIS, {"label": None}, "label None is not in the class list"),
        (hypothesis_entry, HYPOTHESIS, {"image": None}, "W: 'image' must be a path"),
    ],
)
def test_errors_are_named(parse, item, change, message):
    with pytest.raises(DataError, match=message):
        parse({**item, **change}, "W")


def test_errors_in_files_name_the_entry(tmp_path):
    path = tmp_path / "nlvr.json"
    path.write_text(json.dumps([STATEMENT, {**STATEMENT, "label": "?"}]))
    with pytest.raises(DataError, match=r"nlvr\.json: entry 2 \(l\.png\): label '\?'"):
        read_annotations(path, parse=statement_entry)


def test_mirrored_swaps_left_and_right():
    assert mirrored("the left image, not the right one") == "the right image, not the left one"
    assert mirrored("both images") == "both images"


@given(st.text("lefright "))
def test_mirroring_whole_words_twice_changes_nothing(text):
    words = " ".join(word for word in text.split() if word in ("left", "right", "light"))
    assert mirrored(mirrored(words)) == words
