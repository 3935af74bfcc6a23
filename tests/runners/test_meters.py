"""Waiting for data is timed and logged as a share of the epoch; the test sets the clock."""

from __future__ import annotations

import json

import pytest

from lavis.datasets.pairs import PairDataset
from lavis.runners import epoch, meters
from lavis.runners.meters import Timed
from lavis.trainers import delete


class Clock:
    """Replaces the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    for module in (meters, epoch):
        monkeypatch.setattr(module, "time", made)
    return made


def test_only_waiting_is_counted(clock):
    def slowly(n: int):
        for i in range(n):
            clock.now += 2
            yield i

    source, found = Timed(slowly(3)), []
    for item in source:
        found.append(item)
        clock.now += 5
    assert found == [0, 1, 2] and source.seconds == 6


def test_an_error_of_the_source_passes_through():
    def broken():
        yield 1
        raise OSError("gone")

    source = Timed(broken())
    assert next(source) == 1
    with pytest.raises(OSError, match="gone"):
        next(source)


def test_the_log_has_the_share_of_an_epoch_that_went_into_waiting(unlearn, monkeypatch, clock):
    """One second for the rows of Df, one for those of Dr, six for the step."""
    batch, terms = PairDataset.batch, delete.delete_terms

    def slow_batch(self, *args):
        clock.now += 1
        return batch(self, *args)

    def slow_terms(*args):
        clock.now += 6
        return terms(*args)

    monkeypatch.setattr(PairDataset, "batch", slow_batch)
    monkeypatch.setattr(delete, "delete_terms", slow_terms)
    folder = unlearn("delete", "run.evaluate_after=false", "run.num_workers=0", "run.max_epoch=1")
    record = json.loads((folder / "log.txt").read_text().splitlines()[1])
    assert record["train_waiting"] == pytest.approx(0.25)
