from __future__ import annotations

import json
from pathlib import Path

import pytest

from lavis.common.schedule import constant_lr, linear_warmup_cosine_lr, linear_warmup_step_cosine_lr

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden" / "lr.json").read_text())
POINTS = [(0, 0), (0, 10), (0, 49), (1, 0), (2, 25), (3, 49), (4, 0)]


@pytest.mark.parametrize(
    "case,start", [("default_warmup_start_lr_minus1", None), ("warmup_start_lr_0", 0.0), ("warmup_start_lr_1e-6", 1e-6)]
)
def test_equals_the_original_code_exactly(case, start):
    settings = {key: GOLDEN["params"][key] for key in ("init_lr", "min_lr", "warmup_steps", "max_epoch")}
    values = [linear_warmup_cosine_lr(epoch, step, warmup_lr=start, **settings) for epoch, step in POINTS]
    assert values == GOLDEN[case]


def test_step_cosine_rises_peaks_and_falls_to_the_minimum():
    rate = [
        linear_warmup_step_cosine_lr(e, s, init_lr=1.0, min_lr=0.1, max_epoch=4, steps_per_epoch=10, warmup_steps=5)
        for e in range(4)
        for s in range(10)
    ]
    assert rate[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rate[5] == 1.0
    assert all(a > b for a, b in zip(rate[5:], rate[6:], strict=False))
    assert rate[-1] == pytest.approx(0.1, abs=0.002)


def test_constant_warms_up_within_the_first_epoch():
    warm = {"init_lr": 2.0, "warmup_steps": 4, "warmup_lr": 1.0}
    assert [constant_lr(0, step, **warm) for step in range(6)] == [1.0, 1.25, 1.5, 1.75, 2.0, 2.0]
    assert constant_lr(1, 0, **warm) == 2.0


@pytest.mark.parametrize("same", [None, -1, -1.0])
def test_constant_without_warmup_lr_does_not_warm_up(same):
    assert [constant_lr(0, step, init_lr=2.0, warmup_steps=4, warmup_lr=same) for step in range(3)] == [2.0] * 3


def test_minus_one_means_init_lr_in_every_schedule():
    settings = {key: GOLDEN["params"][key] for key in ("init_lr", "min_lr", "warmup_steps", "max_epoch")}
    values = [linear_warmup_cosine_lr(epoch, step, warmup_lr=-1, **settings) for epoch, step in POINTS]
    assert values == GOLDEN["default_warmup_start_lr_minus1"]
    steps = {**settings, "steps_per_epoch": 50}
    assert linear_warmup_step_cosine_lr(0, 0, warmup_lr=-1, **steps) == settings["init_lr"]
    assert linear_warmup_step_cosine_lr(0, 0, **steps) == settings["init_lr"] / settings["warmup_steps"]
