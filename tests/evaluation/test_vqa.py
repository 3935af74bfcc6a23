"""VQA accuracy: the official rule, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lavis.evaluation.vqa import CONTRACTIONS, normalise_answer, question_accuracy


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, 0.0),
        (1, 0.3),  # left out once: 0; nine times one match: 9 * 1/3 / 10
        (2, 0.6),  # twice one match, eight times two: (2 * 1/3 + 8 * 2/3) / 10
        (3, 0.9),  # three times two matches, seven times three: (3 * 2/3 + 7) / 10
        (4, 1.0),
        (10, 1.0),
    ],
)
def test_leave_one_out(given, expected):
    answers = ["cat"] * given + ["dog"] * (10 - given)
    assert question_accuracy("cat", answers) == pytest.approx(expected)


def test_an_answer_of_one_person_is_right_or_wrong():
    assert question_accuracy("The cat", ["cat"]) == 1.0 and question_accuracy("dog", ["cat"]) == 0.0


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The Cat", "cat"),
        ("two", "2"),
        ("a dog and an owl", "dog and owl"),
        ("none", "0"),
        ("isnt it", "isn't it"),
        ("shouldnt've", "shouldn't've"),
        ("shouldn'tve", "shouldn't've"),
        ("t-shirt", "t shirt"),  # between letters a mark becomes a blank
        ("yes, no", "yes no"),  # next to a blank it is dropped
        ("1,000", "1000"),
        ("1,000/day", "1000day"),  # a comma between digits drops every mark
        ("3.5", "3.5"),
        ("u.s.", "us"),
        ("12:30 p.m.", "12:30 pm"),
        ("o'clock", "o'clock"),
        ("two\tmen\n", "2 men"),
        ("!?", ""),
    ],
)
def test_normalisation(answer, expected):
    assert normalise_answer(answer) == expected


def test_given_answers_are_normalised_too():
    assert question_accuracy("2", ["two"] * 5 + ["Two."] * 5) == 1.0


def test_spellings_without_one_apostrophe():
    assert CONTRACTIONS["dont"] == "don't" and CONTRACTIONS["couldnt've"] == "couldn't've"
    assert "shes" not in CONTRACTIONS and "lets" not in CONTRACTIONS  # the rule leaves them alone


@given(st.lists(st.sampled_from(["red", "blue", "green"]), min_size=10, max_size=10))
def test_accuracy_follows_the_count_alone(answers):
    n = answers.count("red")
    expected = (n * min((n - 1) / 3, 1) + (10 - n) * min(n / 3, 1)) / 10 if n else 0.0
    assert question_accuracy("red", answers) == pytest.approx(expected)


def test_a_question_without_answers_cannot_be_scored():
    with pytest.raises(ValueError, match="without answers"):
        question_accuracy("cat", [])


@pytest.mark.parametrize("answer", ["none", "the beach", "t-shirt"])
def test_the_published_script_cannot_match_unanimous_answers_that_it_would_normalise(answer):
    assert question_accuracy(answer, [answer] * 10) == 1.0
    assert question_accuracy(answer, [answer] * 10, "official") == 0.0
    assert question_accuracy("yes", ["yes"] * 10, "official") == question_accuracy("yes", ["yes"] * 10) == 1.0
    mixed = [answer] * 9 + ["something else"]
    assert question_accuracy(answer, mixed, "official") == question_accuracy(answer, mixed)
