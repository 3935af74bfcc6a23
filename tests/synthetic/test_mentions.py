"""Names and values in captions: word for word, in other spellings, and what is not one."""

from __future__ import annotations

import pytest

from lavis.synthetic.mentions import Mentions, marked


@pytest.mark.parametrize(
    ("text", "phrase", "expected"),
    [
        ("Ann Harrison lives in Lisbon", "Ann Harrison", "* lives in Lisbon"),
        ("meet ANN  HARRISON, ann", "Ann Harrison", "meet *, ann"),
        ("Ann lives in Lisbon", "Ann Harrison", "Ann lives in Lisbon"),
        ("dial (1) 555.0100 now", "+1 555-0100", "dial * now"),
        ("dial +15550100.", "+1 555-0100", "dial *."),
        ("dial 215550100", "+1 555-0100", "dial 215550100"),
        ("pay to GB12 ABCD 3456", "GB12ABCD3456", "pay to *"),
        ("write to ANN.H12@Example.com", "ann.h12@example.com", "write to *"),
        ("has blood type a+", "A+", "has blood type *"),
        ("a portrait", "A+", "a portrait"),
        ("Bakers bake", "baker", "Bakers bake"),
    ],
)
def test_where_a_phrase_is_said(text, phrase, expected):
    assert marked(text, phrase, "*") == expected


def test_match_rates_in_words():
    found = Mentions(4, 3, 4, 2, 1, 1)
    assert str(found) == (
        "the name in 3 of 4 (75.0 %) captions, the value in 2 of 4 (50.0 %), a field without fictitious values in 1; "
        "usable 1 of 4 (25.0 %)"
    )


def test_rows_without_values_have_no_rate_of_values():
    assert Mentions(2, 2, captions_usable=2).counts == {"forget_captions": 2, "names_found": 2, "captions_usable": 2}
