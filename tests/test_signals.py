"""Signals to runs, sweeps and imports; 200 of them: `python -m tests.signals` (docs/results/signals.json)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.signals import Log, disturb, equal


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_whatever_is_sent_the_end_is_the_same(tmp_path: Path) -> None:
    log = disturb(24, seed=1, folder=tmp_path)
    assert log.failures == []
    assert log.summary()["signals"] >= 24 and all(shot["code"] != 0 for shot in log.reached())


def test_ends_are_compared_in_depth() -> None:
    assert equal({"a": [1, (2.0, "x")]}, {"a": [1, (2.0, "x")]})
    assert not equal({"a": [1, (2.0, "x")]}, {"a": [1, (2.5, "x")]}) and not equal({}, {"a": 1}) and not equal([1], [])


def test_a_signal_that_came_too_late_does_not_count() -> None:
    shots = [{"aim": "any moment", "signal": "SIGINT", "group": False, "code": code} for code in (130, 0)]
    log = Log([{"kind": "run", "signals": shots}])
    assert (log.summary()["signals"], log.summary()["draws"]) == (1, 2)
    assert log.late() == {("run", "any moment"): 1} and sum(log.summary()["by_aim"].values()) == 1
