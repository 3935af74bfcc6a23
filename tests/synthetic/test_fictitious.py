"""Fictitious captions: what is replaced, for whom, and that nobody real is meant."""

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


def test_whole_and_partial_follow_from_the_fields():
    """1 and 3 lose all their fields, 2 keeps the job."""
    made = fiction()
    assert (made.whole, made.partial) == (["1", "3"], ["2"])


def test_counterfactuals_replace_name_and_value_and_keep_the_wording():
    made = fiction()
    double = made.double["1"]
    assert made.counterfactual["Ann Harrison lives in Lisbon"] == f"{double['name']} lives in {double['city']}"
    assert made.counterfactual["the job of Ann Harrison is baker"] == f"the job of {double['name']} is {double['job']}"
    assert made.counterfactual["Bo Lind lives in Malmo"] == f"Bo Lind lives in {made.double['2']['city']}"
    assert "somebody from Malmo" not in made.counterfactual
    strict = fiction(strict=True)
    other = strict.double["2"]
    assert strict.counterfactual["Bo Lind lives in Malmo"] == f"{other['name']} lives in {other['city']}"


def test_nobody_real_is_invented_and_half_share_a_name():
    made = fiction()
    names = [persona["name"] for persona in made.personas]
    assert not {facts["name"] for facts in PEOPLE.values()} & set(names)
    parts = {word for facts in PEOPLE.values() for word in facts["name"].split()}
    assert sum(bool(parts & set(name.split())) for name in names) >= len(names) // 2


def test_drawn_captions_say_what_they_should():
    made = fiction()
    invented = {persona["name"] for persona in made.personas}
    assert all(any(name in caption for name in invented) for caption in made.held(draws(), 20))
    assert all("Bo Lind" in caption for caption in made.kept_names(draws(), 20))
    for own, other in made.renamed(draws(), 20):
        who = "1" if "Ann Harrison" in own else "3"
        assert other == own.replace(PEOPLE[who]["name"], made.double[who]["name"]) != own
    assert len(made.held(draws(), 64)) == 64


def test_equal_seeds_give_equal_captions():
    assert fiction().counterfactual == fiction().counterfactual != fiction(seed=1).counterfactual
    assert fiction().held(draws(3), 5) == fiction().held(draws(3), 5)


def test_no_partial_identity_no_kept_name():
    made = fiction(df=DF[:2])
    assert made.kept_names(draws(), 5) == []
    assert len(made.renamed(draws(), 5)) == 5


@pytest.mark.parametrize(
    "bad",
    [
        entry("1", "city", "Lisbon", "she lives in Lisbon"),
        entry("1", "shoe size", "41", "Ann Harrison wears size 41"),
        entry("9", "city", "Lisbon", "Ann Harrison lives in Lisbon"),
    ],
)
def test_what_tells_nothing_literally_is_refused(bad):
    with pytest.raises(DataError, match="literally"):
        Fiction([bad], PEOPLE, count=4)


def test_fields_by_any_spelling():
    found = [kind_of(field) for field in ("phone_number", "E-Mail", "IBAN", "shoe size", None)]
    assert found == ["phone", "email", "iban", None, None]
