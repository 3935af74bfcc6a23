"""Odd values in a sweep file: accepted, or refused with one message that names the key."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from lavis.common.errors import UserFault
from lavis.sweeps.plan import expand
from lavis.sweeps.schema import SweepConfig, sweep_from_dict
from lavis.sweeps.search import read_rule
from tests.processes import ROOT

BASE = {"cfg_path": str(ROOT / "configs/clip/retrieval_salmu_mini.yaml"), "methods": ["vlul"]}
GRID = {"vlul": {"init_lr": [1e-4, 1e-3]}}
VALUES = (
    -1,
    0,
    math.nan,
    math.inf,
    10**20,
    1e300,
    None,
    "text",
    [1],
    ["x"],
    [None],
    [math.nan],
    {"a": 1},
    {1: 2},
    True,
)
INSIDE: list[tuple[dict[str, Any], str]] = [
    ({"search": {"dr_kept": math.nan}, "grid": GRID}, "search.dr_kept"),
    ({"search": {"dr_kept": "x"}, "grid": GRID}, "search.dr_kept"),
    ({"search": {"dr_kept": 101}, "grid": GRID}, "search.dr_kept"),
    ({"search": {"target": [1]}, "grid": GRID}, "search.target"),
    ({"search": {"out": 3}, "grid": GRID}, "search.out"),
    ({"search": {"kept": 3}, "grid": GRID}, "search.kept"),
    ({"grid": {"vlul": {"init_lr": [math.nan]}}}, "run.init_lr"),
    ({"grid": {"vlul": {"init_lr": [[1]]}}}, "grid.vlul"),
    ({"grid": {"vlul": {"init_lr": [{"a": 1}]}}}, "grid.vlul"),
    ({"settings": {"vlul": {"run": {"init_lr": math.inf}}}}, "run.init_lr"),
    ({"verdict": {"recall_left": math.nan}}, "verdict.recall_left"),
    ({"seeds": [-1]}, "run.seed"),
    ({"seeds": [10**20]}, "run.seed"),
    ({"df_sizes": [10**20]}, "run.df_size"),
    ({"df_sizes": [math.nan]}, "df_sizes"),
    ({"budgets": [10**20]}, "run.max_epoch"),
]


def read(content: dict[str, Any]) -> None:
    sweep = sweep_from_dict({**BASE, **content}, "sweep.yaml")
    expand(sweep)
    if sweep.search:
        read_rule(sweep)


@pytest.mark.parametrize("key", [item.name for item in dataclasses.fields(SweepConfig) if item.name != "source"])
def test_every_key_accepts_or_refuses(key):
    for value in VALUES:
        try:
            read({key: value})
        except UserFault as error:
            assert "\n" not in str(error), (key, value)


@pytest.mark.parametrize(("content", "words"), INSIDE, ids=[f"{content}" for content, _ in INSIDE])
def test_the_message_names_the_key_inside(content, words):
    with pytest.raises(UserFault) as raised:
        read(content)
    assert words in str(raised.value)
