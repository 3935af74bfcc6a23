"""Signals to runs, sweeps and imports; 200 of them: `python -m tests.signals` (docs/results/signals.json)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.signals import disturb, equal


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_whatever_is_sent_the_end_is_the_same(tmp_path: Path) -> None:
    log = disturb(24, seed=1, folder=tmp_path)
    assert log.failures == []
    assert log.summary()["reached_a_running_command"] > 12


def test_ends_are_compared_in_depth() -> None:
    assert equal({"a": [1, (2.0, "x")]}, {"a": [1, (2.0, "x")]})
    assert not equal({"a": [1, (2.0, "x")]}, {"a": [1, (2.5, "x")]}) and not equal({}, {"a": 1}) and not equal([1], [])
