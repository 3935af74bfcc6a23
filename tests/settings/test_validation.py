"""Odd values of all settings: refused with one message that names the setting, or accepted for a reason."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable
from typing import Any

import pytest

from lavis.common.errors import ConfigError
from lavis.settings.declaration import without_none
from lavis.settings.validation import build, read
from tests.settings.sections import Leaf, all_leaves, distinct, sections

LEAVES = all_leaves()
MINUS_ONE = {"run.warmup_lr", "run.interpolate"}  # LAVIS writes -1 for that
UNLIMITED = {"max_grad_norm", "feature_cache_gb", "image_cache_gb"}  # a large value means no limit


def kind(leaf: Leaf) -> Any:
    return without_none(leaf.item.hint)[0]


def takes(leaf: Leaf, *kinds: Any) -> bool:
    return kind(leaf) in kinds


def is_list(leaf: Leaf) -> bool:
    return typing.get_origin(kind(leaf)) is list


def is_mapping(leaf: Leaf) -> bool:
    return typing.get_origin(kind(leaf)) is dict


def free_text(leaf: Leaf) -> bool:
    return (takes(leaf, str) and not leaf.item.about.choices) or leaf.item.about.lone


def zero_makes_sense(leaf: Leaf) -> bool:
    about = leaf.item.about
    return takes(leaf, int, float) and about.least == 0 and about.above is None


ODD_VALUES: list[tuple[Any, Callable[[Leaf], bool]]] = [
    (-1, lambda leaf: leaf.key in MINUS_ONE),
    (-0.5, lambda leaf: False),
    (0, zero_makes_sense),
    (math.nan, lambda leaf: False),
    (math.inf, lambda leaf: False),
    (-math.inf, lambda leaf: False),
    (1e20, lambda leaf: leaf.path[-1] in UNLIMITED),
    (10**20, lambda leaf: leaf.path[-1] in UNLIMITED),
    (10**400, lambda leaf: False),
    (None, lambda leaf: without_none(leaf.item.hint)[1]),
    (True, lambda leaf: takes(leaf, bool) or "true" in leaf.item.about.choices),
    ("some text", free_text),
    ("a\0b", lambda leaf: False),
    ("false", lambda leaf: free_text(leaf) or "false" in leaf.item.about.choices),
    ([], is_list),
    ([math.nan], lambda leaf: False),
    ([{}], lambda leaf: False),
    ({}, is_mapping),
    ({"x": math.nan}, lambda leaf: False),
    ({1: 1}, lambda leaf: False),
]


@pytest.mark.parametrize(("value", "accepted"), ODD_VALUES, ids=[repr(value)[:20] for value, _ in ODD_VALUES])
def test_every_setting_accepts_or_refuses(value, accepted):
    assert len(LEAVES) > 200
    wrong = []
    for leaf in LEAVES:
        try:
            read(leaf.section, leaf.given(value), leaf.prefix)
        except ConfigError as error:
            message = str(error)
            refused = leaf.key in message and "\n" not in message and len(message) < 700
            wrong += [] if refused and not accepted(leaf) else [f"{leaf.key}: {message}"]
        else:
            wrong += [] if accepted(leaf) else [f"{leaf.key} accepts {value!r}"]
    assert wrong == []


def test_every_number_has_a_lower_bound():
    """Whoever adds a number decides on its bound."""
    numbers = [leaf for leaf in LEAVES if takes(leaf, int, float)]
    assert [leaf.key for leaf in numbers if leaf.item.about.least is None and leaf.item.about.above is None] == []


def test_every_setting_says_what_it_means():
    assert [leaf.key for leaf in LEAVES if not leaf.item.about.meaning.strip()] == []


def test_defaults_are_valid():
    for name, section in distinct(sections()).items():
        for leaf in leaves_of(name, section):
            default = leaf.item.default
            assert read(section, leaf.given(default), name) is not None, leaf.key
        assert build(section, {}, name) == section()


def leaves_of(name: str, section: type) -> list[Leaf]:
    return [leaf for leaf in LEAVES if leaf.section is section and leaf.prefix == name]
