"""The micro-batches of a run: its plan, its workers, which stay alive from epoch to epoch, and their end."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.errors import DataError
from lavis.datasets.annotations import Entry
from lavis.datasets.loaders import BatchPlan, SinglePlan, steps_per_epoch
from lavis.datasets.pairs import PairDataset
from lavis.processors.image import ClipImageEval, ClipImageTrain
from lavis.processors.text import ClipCaption
from lavis.runners.loop import TrainingLoop
from lavis.runners.stop import EXIT_CODE
from lavis.runners.stream import Planned, Share, Stream
from tests.noise import save_image
from tests.runners.interrupted import same_weights

PLAN = BatchPlan(9, 15, 2, 42)  # 5 micro-batches per epoch
EPOCHS = 3


class Marked(PairDataset):
    """Batches also say which process loaded them."""

    def targets(self, rows: list[int]) -> dict[str, Any]:
        return {"process": os.getpid()}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PairDataset]:
    """The data sets of an unlearning step, with random crops and two captions per image."""
    root = tmp_path_factory.mktemp("images")
    for i in range(24):
        save_image(root / f"{i}.png", i)
    rows = [Entry(f"{i}.png", (f"caption {i}", f"other {i}")) for i in range(24)]
    parts = {"df": rows[:9], "dr": rows[9:]}
    return {name: Marked(part, root, ClipImageTrain(6, 0.3), ClipCaption(), seed=1) for name, part in parts.items()}


def stream(
    sets: dict[str, PairDataset], plan: Any = PLAN, workers: int = 0, epochs: int = EPOCHS, **where: Any
) -> Stream:
    return Stream(sets, Share(plan, tuple(sets), **where), epochs, workers)


def summary(item: dict[str, Any]) -> tuple[Any, ...]:
    """All that a batch contains, in a form that can be compared bit for bit."""
    sets = {name: batch for name, batch in item.items() if name != "micro"}
    fields = {(name, key): value for name, batch in sets.items() for key, value in batch.items() if key != "process"}
    plain = {
        key: value.numpy().tobytes() if isinstance(value, torch.Tensor) else value for key, value in fields.items()
    }
    return item["micro"], plain


def planned(sets: dict[str, PairDataset], epoch: int, start: int = 0, plan: Any = PLAN) -> list[tuple[Any, ...]]:
    """The same from the definition: one epoch's micro-batches of one process, loaded one by one."""
    items = []
    for number, rows in list(enumerate(plan.micro_batches(epoch)))[start:]:
        parts = rows if isinstance(rows, tuple) else (rows,)
        items.append({n: sets[n].batch(part, epoch) for n, part in zip(sets, parts, strict=True)} | {"micro": number})
    return [summary(item) for item in items]


def assert_no_worker_is_left() -> None:
    deadline = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert multiprocessing.active_children() == []


@pytest.fixture(autouse=True)
def no_worker_later() -> Iterator[None]:
    yield
    assert_no_worker_is_left()


@pytest.mark.parametrize("start", [(0, 0), (0, 3), (1, 2), (2, 4)])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_run_is_its_epochs_for_any_number_of_workers_and_any_beginning(pairs, workers, start):
    found = stream(pairs, workers=workers)
    first, step = start
    for epoch in range(first, EPOCHS):
        begin = step if epoch == first else 0
        assert list(map(summary, found.epoch(epoch, begin))) == planned(pairs, epoch, begin)
    found.close()


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(0, 3), st.integers(0, 40), st.data())
def test_planned_items_are_those_of_the_epochs_in_order(world, accum, epochs, most, first, data):
    plan = BatchPlan(40, 25, 2, 7)
    share = Share(plan, ("df", "dr"), data.draw(st.integers(0, world - 1)), world, accum, most or None)
    length = len(share.numbers)
    micro = len(plan.micro_batches(0, world * accum))
    assert length == steps_per_epoch(micro, world, accum, most or None) * accum
    epoch, place = divmod(min(first, epochs * length - 1), length)
    items = list(Planned(share, epoch * length + place, epochs))
    wanted = [item for number in range(epochs) for item in share.items(number)][epoch * length + place :]
    assert [item[:2] for item in items] == [item[:2] for item in wanted]
    for (_, _, rows), (number, micro, _) in zip(items, wanted, strict=True):
        parts = plan.micro_batches(number, world * accum)[micro]
        assert all(np.array_equal(rows[name], part) for name, part in zip(("df", "dr"), parts, strict=True))


def test_the_same_processes_load_every_epoch(pairs):
    found = stream(pairs, workers=2)
    loaded = [{item["df"]["process"] for item in found.epoch(epoch)} for epoch in range(EPOCHS)]
    assert len(set.union(*loaded)) == 2 and os.getpid() not in set.union(*loaded)
    found.close()


def test_the_next_epoch_is_begun_early_and_no_further_than_the_workers_bound(pairs, monkeypatch):
    asked = []
    monkeypatch.setattr(
        Planned, "__getitem__", lambda self, i, real=Planned.__getitem__: asked.append(i) or real(self, i)
    )
    found = stream(pairs, workers=2)
    for taken, _ in enumerate(itertools.islice(found.epoch(0), 5), 1):
        assert len(asked) <= taken + 4  # two micro-batches for each worker
    assert len(asked) > 5
    found.close()


def test_without_workers_nothing_is_loaded_ahead(pairs, monkeypatch):
    asked = []
    monkeypatch.setattr(
        Planned, "__getitem__", lambda self, i, real=Planned.__getitem__: asked.append(i) or real(self, i)
    )
    list(itertools.islice(stream(pairs).epoch(0), 3))
    assert asked == [0, 1, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_from_another_place_starts_there(pairs, workers):
    """Whatever was taken before: half an epoch, a later one, one past the run, and two at the same time."""
    found = stream(pairs, workers=workers)
    half, other = found.epoch(0), found.epoch(2)
    assert [summary(next(half)), summary(next(other)), summary(next(half))] == [
        planned(pairs, 0)[0],
        planned(pairs, 2)[0],
        planned(pairs, 0)[1],
    ]
    for epoch, start in ((1, 2), (0, 0), (7, 1)):
        assert list(map(summary, found.epoch(epoch, start))) == planned(pairs, epoch, start)
    found.close()


def test_resuming_skips_finished_steps_without_decoding(pairs, monkeypatch):
    plan, where = BatchPlan(9, 15, 1, 42), {"rank": 1, "world": 2, "accum": 2}
    whole = list(map(summary, stream(pairs, plan, **where).epoch(0)))
    opened, store = [], pairs["df"].store
    monkeypatch.setattr(store, "open", lambda image, *more, real=store.open: opened.append(image) or real(image, *more))
    rest = list(map(summary, stream(pairs, plan, **where).epoch(0, 1)))
    assert [row[0] for row in whole] == [1, 3, 5, 7] and rest == whole[2:] and len(opened) == 2


def test_two_ranks_see_the_same_as_one_process(pairs):
    ranks = [list(map(summary, stream(pairs, rank=r, world=2).epoch(0))) for r in (0, 1)]
    both = sorted(ranks[0] + ranks[1], key=lambda row: row[0])
    assert both == list(map(summary, stream(pairs, accum=2).epoch(0)))


def test_max_steps_and_a_start_at_the_end(pairs):
    found = stream(pairs, max_steps=3, workers=1)
    assert [[item["micro"] for item in found.epoch(epoch)] for epoch in (0, 1)] == [[0, 1, 2]] * 2
    found.close()
    assert list(stream(pairs, workers=2).epoch(0, 5)) == []


def test_one_set(pairs):
    one, plan = {"dr": pairs["dr"]}, SinglePlan(15, 4, 42)
    items = list(stream(one, plan).epoch(2, 1))
    assert [item["micro"] for item in items] == [1, 2] and set(items[0]) == {"dr", "micro"}
    assert list(map(summary, items)) == planned(one, 2, 1, plan)


def test_workers_end_as_soon_as_everything_is_in_memory(pairs):
    cached = Marked(pairs["dr"].entries, pairs["dr"].store, ClipImageEval(6), ClipCaption(), cache="memory")
    plan = SinglePlan(15, 1, 0)
    found = stream({"dr": cached}, plan, workers=1)
    first, second = ([item["dr"] for item in found.epoch(epoch)] for epoch in (0, 1))
    assert {batch["process"] for batch in first} != {os.getpid()} == {batch["process"] for batch in second}
    assert_no_worker_is_left()
    images = [
        torch.cat([batch["images"] for batch in sorted(part, key=lambda b: int(b["index"]))])
        for part in (first, second)
    ]
    assert cached.in_memory and torch.equal(*images)


def test_the_global_random_state_is_not_touched(pairs):
    before, found = torch.get_rng_state(), stream(pairs, workers=1)
    list(found.epoch(0))
    found.close()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_gives_one_clear_message_and_ends_the_workers(tmp_path, workers):
    save_image(tmp_path / "0.png", 0)
    (tmp_path / "1.png").write_bytes(b"no image")
    rows = [Entry(f"{i}.png", ("c",)) for i in range(2)]
    broken = PairDataset(rows, tmp_path, ClipImageTrain(6), ClipCaption())
    found = stream({"dr": broken}, SinglePlan(2, 1, 0), workers)
    with pytest.raises(DataError, match=r"^image [^\n]*1\.png cannot be decoded[^\n]*$"):
        list(found.epoch(0))
    assert_no_worker_is_left()
    with pytest.raises(DataError, match="cannot be decoded"):  # it does not go on where it failed
        list(found.epoch(0))


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "dropped"])
@pytest.mark.parametrize("taken", [1, 5], ids=["in an epoch", "between epochs"])
def test_no_worker_outlives_its_stream(pairs, taken, closed):
    found = stream(pairs, workers=2)
    batches = found.epoch(0)
    list(itertools.islice(batches, taken))
    assert multiprocessing.active_children()
    if closed:
        found.close()
    del batches, found
    assert_no_worker_is_left()


def test_ctrl_c_between_epochs_ends_the_workers(pairs):
    found = stream(pairs, workers=2)
    with pytest.raises(KeyboardInterrupt):
        try:
            list(found.epoch(0))
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        finally:
            found.close()
    assert_no_worker_is_left()


LONG = ("run.max_epoch=3", "run.save_freq_steps=1", "run.evaluate_after=false")
VALIDATED = (*LONG, "run.valid_splits=[test]")  # which has workers of its own, between the epochs
SHAPES = [
    (),
    ("run.accum_grad_iters=2",),
    ("run.max_steps_per_epoch=2", "run.batch_size_train=4"),
    ("run.accum_grad_iters=2", "run.max_steps_per_epoch=1", "run.batch_size_train=4"),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: " ".join(shape) or "plain")
def test_workers_change_no_weight_of_a_run(finished, unlearn, shape):
    straight = finished("vlul", *VALIDATED, *shape)
    assert same_weights(unlearn("vlul", *VALIDATED, *shape, "run.num_workers=2"), straight)


@pytest.mark.parametrize("place", [(0, 1), (1, 0)], ids=["at an epoch's end", "within an epoch"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_ends_its_workers_and_resumes_at_its_very_place(
    finished, unlearn, monkeypatch, heard, place, workers
):
    options, step = (*LONG, *SHAPES[2]), TrainingLoop.step

    def stopped(self, batches, *where):
        if where == place:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batches, *where)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(TrainingLoop, "step", stopped)
        unlearn("vlul", *options, "run.num_workers=2")
    assert_no_worker_is_left()
    folder = unlearn("vlul", *options, f"run.num_workers={workers}")
    assert ended.value.code == EXIT_CODE and "Resumed from" in heard.text
    assert same_weights(folder, finished("vlul", *options))


def test_a_run_that_fails_ends_its_workers(unlearn, monkeypatch):
    def fail(self, epoch):
        raise DataError("validation failed")

    monkeypatch.setattr("lavis.runners.epoch.EpochRunner._validated", fail)
    with pytest.raises(DataError, match="validation failed") as failed:
        unlearn("vlul", *VALIDATED, "run.num_workers=2")
    assert_no_worker_is_left()
    assert failed.value  # alive until here: it is not only with the error's frames that the workers go
