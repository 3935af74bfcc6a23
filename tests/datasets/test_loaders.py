"""Plans and loaders: passes, cycles, ranks and accumulation, resuming, errors in workers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.errors import DataError
from lavis.datasets.annotations import Entry
from lavis.datasets.loaders import (
    BatchPlan,
    SinglePlan,
    chunk_count,
    eval_loader,
    micro_numbers,
    steps_per_epoch,
    training_loader,
)
from lavis.datasets.pairs import PairDataset
from lavis.processors.image import ClipImageEval, ClipImageTrain
from lavis.processors.text import ClipCaption
from tests.noise import save_image


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for i in range(24):
        save_image(root / f"{i}.png", i)
    rows = [Entry(f"{i}.png", (f"caption {i}", f"other {i}")) for i in range(24)]

    def make(part):
        return PairDataset(part, root, ClipImageTrain(6, 0.3), ClipCaption(), seed=1)

    return make(rows[:9]), make(rows[9:])


def two(pairs):
    """The data sets of an unlearning step."""
    return dict(zip(("df", "dr"), pairs, strict=True))


def summary(items):
    return [
        (b["micro"], b["df"]["index"].tolist(), b["dr"]["caption_id"].tolist(), b["dr"]["images"].sum().item())
        for b in items
    ]


sizes = st.integers(1, 60)


@settings(deadline=None, max_examples=60)
@given(sizes, sizes, st.integers(1, 9), st.integers(0, 2**32), st.integers(0, 9))
def test_an_epoch_is_one_pass_over_df_and_balanced_cycles_of_dr(n_df, n_dr, half, seed, epoch):
    if min(n_df, n_dr) < half:
        with pytest.raises(DataError, match="smaller than one batch"):
            BatchPlan(n_df, n_dr, half, seed)
        return
    plan = BatchPlan(n_df, n_dr, half, seed)
    micro = plan.micro_batches(epoch)
    assert len(micro) == len(plan) == n_df // half
    assert all(len(df) == len(dr) == half == len(set(dr.tolist())) for df, dr in micro)
    forget = np.concatenate([df for df, _ in micro])
    assert len(set(forget.tolist())) == len(forget) and forget.max() < n_df
    per_cycle = n_dr // half
    for start in range(0, len(micro), per_cycle):
        cycle = np.concatenate([dr for _, dr in micro[start : start + per_cycle]])
        assert len(set(cycle.tolist())) == len(cycle) and 0 <= cycle.min() and cycle.max() < n_dr


def test_df_and_dr_are_reshuffled_for_every_epoch_cycle_and_seed():
    plan = BatchPlan(64, 16, 16, 42)
    (df0, dr0), (_, dr1) = plan.micro_batches(0)[:2]
    df_next, dr_next = plan.micro_batches(1)[0]
    others = [dr1, df_next, dr_next, BatchPlan(64, 16, 16, 43).micro_batches(0)[0][1], np.arange(16)]
    assert all(not np.array_equal(rows, dr0) for rows in others)
    assert not np.array_equal(df0, np.arange(16)) and not np.array_equal(df0, df_next)
    again = BatchPlan(64, 16, 16, 42).micro_batches(0)
    assert np.array_equal(again[0][0], df0) and np.array_equal(again[1][1], dr1)


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(1, 9), st.integers(0, 9))
def test_a_single_plan_is_one_pass(n, batch, epoch):
    if n < batch:
        with pytest.raises(DataError, match="the training set is smaller than one batch"):
            SinglePlan(n, batch, 0)
        return
    plan = SinglePlan(n, batch, 0)
    rows = plan.micro_batches(epoch)
    seen = Counter(np.concatenate(rows).tolist())
    assert len(rows) == len(plan) == n // batch and max(seen.values()) == 1 and len(seen) == n // batch * batch


def test_a_df_smaller_than_one_batch_is_refused():
    with pytest.raises(DataError, match=r"Df is smaller than one batch: 3 rows, a batch takes 16 .*batch_size_train"):
        BatchPlan(3, 100, 16, 42)
    with pytest.raises(DataError, match="at least one row of Df; raise run.batch_size_train"):
        BatchPlan(3, 100, 0, 42)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), st.integers(1, 4), st.integers(1, 4))
def test_ranks_together_use_what_one_process_accumulates(total, world, accum):
    if total < world * accum:
        with pytest.raises(DataError, match="fewer than one step"):
            steps_per_epoch(total, world, accum)
        return
    steps = steps_per_epoch(total, world, accum)
    assert steps == steps_per_epoch(total, 1, world * accum)
    for step in range(steps):
        alone = micro_numbers([step], 0, 1, world * accum)
        together = [n for rank in range(world) for n in micro_numbers([step], rank, world, accum)]
        assert sorted(together) == alone and alone[-1] < total


def test_steps_are_capped():
    assert steps_per_epoch(100, 2, 5, max_steps=3) == 3 and steps_per_epoch(100, 2, 5, max_steps=30) == 10


def test_batches_follow_the_plan(pairs):
    plan = BatchPlan(9, 15, 2, 42)
    loader = training_loader(two(pairs), plan, epoch=1)
    items = list(loader)
    assert len(loader) == len(items) == 4 and set(items[0]) == {"df", "dr", "micro"}
    for item, (df, dr) in zip(items, plan.micro_batches(1), strict=True):
        assert item["df"]["index"].tolist() == df.tolist() and item["dr"]["index"].tolist() == dr.tolist()
        assert item["df"]["images"].shape == (2, 3, 6, 6) and len(item["dr"]["captions"]) == 2


def test_resuming_skips_finished_steps_without_decoding(pairs, monkeypatch):
    plan = BatchPlan(9, 15, 1, 42)
    whole = summary(training_loader(two(pairs), plan, 0, rank=1, world=2, accum=2))
    opened = []
    monkeypatch.setattr(
        pairs[0].store, "open", lambda image, real=pairs[0].store.open: opened.append(image) or real(image)
    )
    rest = summary(training_loader(two(pairs), plan, 0, rank=1, world=2, accum=2, start_step=1))
    assert [row[0] for row in whole] == [1, 3, 5, 7] and rest == whole[2:] and len(opened) == 2


def test_two_ranks_see_the_same_as_one_process(pairs):
    plan = BatchPlan(9, 15, 2, 42)
    ranks = [summary(training_loader(two(pairs), plan, 0, rank=r, world=2)) for r in (0, 1)]
    assert sorted(ranks[0] + ranks[1]) == summary(training_loader(two(pairs), plan, 0, accum=2))


def test_workers_change_nothing(pairs):
    plan = BatchPlan(9, 15, 2, 42)
    assert summary(training_loader(two(pairs), plan, 3, num_workers=2)) == summary(training_loader(two(pairs), plan, 3))


def test_no_worker_is_started_if_everything_is_in_memory(pairs, monkeypatch):
    cached = PairDataset(pairs[1].entries, pairs[1].store, ClipImageEval(6), ClipCaption(), cache="memory")
    first = [item["dr"]["images"] for item in training_loader({"dr": cached}, SinglePlan(15, 1, 0), 0, num_workers=1)]
    assert cached.in_memory and not pairs[1].in_memory
    monkeypatch.setattr("torch.multiprocessing.Process.start", lambda self: pytest.fail("a worker was started"))
    again = [item["dr"]["images"] for item in training_loader({"dr": cached}, SinglePlan(15, 1, 0), 0, num_workers=1)]
    assert torch.equal(torch.cat(first), torch.cat(again))


def test_the_global_random_state_is_not_touched(pairs):
    before = torch.get_rng_state()
    list(training_loader(two(pairs), BatchPlan(9, 15, 2, 42), 0, num_workers=1))
    assert torch.equal(before, torch.get_rng_state())


def test_max_steps_and_a_start_at_the_end(pairs):
    plan = BatchPlan(9, 15, 2, 42)
    assert len(training_loader(two(pairs), plan, 0, max_steps=3)) == 3
    assert list(training_loader(two(pairs), plan, 0, start_step=4, num_workers=2)) == []


def test_single_loader(pairs):
    plan = SinglePlan(15, 4, 42)
    items = list(training_loader({"dr": pairs[1]}, plan, 2, start_step=1))
    assert [item["micro"] for item in items] == [1, 2] and set(items[0]) == {"dr", "micro"}
    assert [item["dr"]["index"].tolist() for item in items] == [rows.tolist() for rows in plan.micro_batches(2)[1:]]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_gives_one_clear_message(tmp_path, workers):
    save_image(tmp_path / "0.png", 0)
    (tmp_path / "1.png").write_bytes(b"no image")
    rows = [Entry(f"{i}.png", ("c",)) for i in range(2)]
    broken = PairDataset(rows, tmp_path, ClipImageTrain(6), ClipCaption())
    with pytest.raises(DataError, match=r"^image [^\n]*1\.png cannot be decoded[^\n]*$"):
        list(training_loader({"dr": broken}, SinglePlan(2, 1, 0), 0, num_workers=workers))


def test_evaluation_chunks(pairs):
    items = list(eval_loader(pairs[1], 4, chunks=[3, 1]))
    assert [(item["chunk"], item["index"].tolist()) for item in items] == [(3, [12, 13, 14]), (1, [4, 5, 6, 7])]
    assert set(items[0]) == {"images", "captions", "index", "caption_id", "image_ids", "chunk"}
    loader = eval_loader(pairs[1], 4, num_workers=2)
    assert len(loader) == chunk_count(15, 4) == 4
    assert [i for item in loader for i in item["index"].tolist()] == list(range(15))
    assert list(eval_loader(pairs[1], 4, chunks=[])) == []
    with pytest.raises(IndexError, match=r"0\.\.3"):
        eval_loader(pairs[1], 4, chunks=[4])
