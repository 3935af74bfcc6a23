"""Waiting for data is counted, and recorded as a share of the epoch."""

from __future__ import annotations

import json
import time

import pytest

from lavis.datasets.pairs import PairDataset
from lavis.runners.meters import Timed


def slowly(n: int, seconds: float):
    for i in range(n):
        time.sleep(seconds)
        yield i


def test_only_waiting_is_counted():
    source = Timed(slowly(3, 0.02))
    found = []
    for item in source:
        found.append(item)
        time.sleep(0.05)
    assert found == [0, 1, 2] and 0.06 <= source.seconds < 0.15


def test_an_error_of_the_source_passes_through():
    def broken():
        yield 1
        raise OSError("gone")

    source = Timed(broken())
    assert next(source) == 1
    with pytest.raises(OSError, match="gone"):
        next(source)


def test_the_log_has_the_share_of_an_epoch_that_went_into_waiting(unlearn, monkeypatch):
    def share(name: str) -> float:
        options = ("run.evaluate_after=false", "run.num_workers=0", "run.max_epoch=1")
        folder = unlearn("delete", *options, name=name)
        records = [json.loads(line) for line in (folder / "log.txt").read_text().splitlines()]
        return records[1]["train_waiting"]

    batch = PairDataset.batch

    def slow(self, *args):
        time.sleep(0.1)
        return batch(self, *args)

    quick = share("quick")
    monkeypatch.setattr(PairDataset, "batch", slow)
    assert 0 <= quick < share("slow") <= 1 and share("slower") > 0.5
