"""Fictitious captions: what is replaced, for whom, and that no real person is named."""

from __future__ import annotations

import numpy as np
import pytest

from lavis.common.errors import DataError
from lavis.datasets.annotations import Entry
from lavis.synthetic.fictitious import Fiction, kind_of

PEOPLE = {
    "1": {"name": "Ann Harrison", "city": "Lisbon", "job": "baker", "locale": "en_GB"},
    "2": {"name": "Bo Lind", "city": "Malmo", "job": "pilot", "locale": "sv_SE"},
    "3": {"name": "Eva Kern", "city": "Bonn"},
}


def entry(who: str, field: str, value: str, *captions: str) -> Entry:
    return Entry(f"forget/{who}_{field}.jpg", captions, extra={"identity_id": who, "field": field, "value": value})


DF = [
    entry("1", "city", "Lisbon", "Ann Harrison lives in Lisbon"),
    entry("1", "Job", "baker", "the job of Ann Harrison is baker"),
    entry("2", "city", "Malmo", "Bo Lind lives in Malmo", "somebody from Malmo"),
    entry("3", "city", "Bonn", "a portrait of Eva Kern, who lives in Bonn"),
]


def fiction(strict: bool = False, df=DF, seed: int = 42) -> Fiction:
    return Fiction(df, PEOPLE, seed, strict, count=40)


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_whole_and_partial_depend_on_the_fields():
    """1 and 3 lose all their fields, 2 keeps the job."""
    story = fiction()
    assert (story.whole, story.partial) == (["1", "3"], ["2"])


def test_counterfactuals_replace_name_and_value_and_keep_the_wording():
    story = fiction()
    double = story.double["1"]
    assert story.counterfactual["Ann Harrison lives in Lisbon"] == f"{double['name']} lives in {double['city']}"
    assert story.counterfactual["the job of Ann Harrison is baker"] == f"the job of {double['name']} is {double['job']}"
    assert story.counterfactual["Bo Lind lives in Malmo"] == f"Bo Lind lives in {story.double['2']['city']}"
    assert "somebody from Malmo" not in story.counterfactual
    strict = fiction(strict=True)
    other = strict.double["2"]
    assert strict.counterfactual["Bo Lind lives in Malmo"] == f"{other['name']} lives in {other['city']}"


def test_captions_in_other_spellings_are_used_and_all_are_counted():
    story = fiction(
        df=[*DF, entry("1", "city", "Lisbon", "in LISBON: ANN HARRISON"), entry("2", "shoe size", "41", "41")]
    )
    double = story.double["1"]
    assert story.counterfactual["in LISBON: ANN HARRISON"] == f"in {double['city']}: {double['name']}"
    counts = {"forget_captions": 7, "names_found": 5, "values_asked": 7, "values_found": 7}
    assert story.mentions.counts == {**counts, "fields_unknown": 1, "captions_usable": 5}
    assert fiction(df=DF[:2]).mentions.complete and not story.mentions.complete


def test_a_field_is_forgotten_even_if_no_caption_of_it_can_be_used():
    """Of 1 everything is in the forget set, although one caption calls her by the first name."""
    story = fiction(df=[DF[0], entry("1", "Job", "baker", "Ann is a baker"), DF[2]])
    assert (story.whole, story.partial) == (["1"], ["2"])


def test_no_real_person_is_invented_and_half_share_a_name():
    story = fiction()
    names = [persona["name"] for persona in story.personas]
    assert not {facts["name"] for facts in PEOPLE.values()} & set(names)
    parts = {word for facts in PEOPLE.values() for word in facts["name"].split()}
    assert sum(bool(parts & set(name.split())) for name in names) >= len(names) // 2


def test_drawn_captions_contain_the_right_names():
    story = fiction()
    invented = {persona["name"] for persona in story.personas}
    assert all(any(name in caption for name in invented) for caption in story.held(draws(), 20))
    assert all("Bo Lind" in caption for caption in story.kept_names(draws(), 20))
    for caption, other in story.renamed(draws(), 20):
        who = "1" if "Ann Harrison" in caption else "3"
        assert other == caption.replace(PEOPLE[who]["name"], story.double[who]["name"]) != caption
    assert len(story.held(draws(), 64)) == 64


def test_equal_seeds_give_equal_captions():
    assert fiction().counterfactual == fiction().counterfactual != fiction(seed=1).counterfactual
    assert fiction().held(draws(3), 5) == fiction().held(draws(3), 5)


def test_without_partial_identities_there_are_no_kept_names():
    story = fiction(df=DF[:2])
    assert story.kept_names(draws(), 5) == []
    assert len(story.renamed(draws(), 5)) == 5


@pytest.mark.parametrize(
    "bad",
    [
        entry("1", "city", "Lisbon", "she lives in Lisbon"),
        entry("1", "shoe size", "41", "Ann Harrison wears size 41"),
        entry("9", "city", "Lisbon", "Ann Harrison lives in Lisbon"),
    ],
)
def test_a_forget_set_without_literal_captions_is_refused(bad):
    with pytest.raises(DataError, match="contains its person's name .* usable 0 of 1"):
        Fiction([bad], PEOPLE, count=4)


def test_fields_in_any_spelling():
    found = [kind_of(field) for field in ("phone_number", "E-Mail", "IBAN", "shoe size", None)]
    assert found == ["phone", "email", "iban", None, None]
