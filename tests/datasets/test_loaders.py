"""Plans and the loader of evaluation: passes, cycles, ranks and accumulation."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.errors import DataError
from lavis.datasets.annotations import Entry
from lavis.datasets.loaders import (
    BatchPlan,
    SinglePlan,
    batch_sizes,
    chunk_count,
    eval_loader,
    micro_numbers,
    row_weight,
    steps_per_epoch,
)
from lavis.datasets.pairs import PairDataset
from lavis.processors.image import ClipImageTrain
from lavis.processors.text import ClipCaption
from tests.noise import save_image


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for i in range(24):
        save_image(root / f"{i}.png", i)
    rows = [Entry(f"{i}.png", (f"caption {i}", f"other {i}")) for i in range(24)]
    return PairDataset(rows[9:], root, ClipImageTrain(6, 0.3), ClipCaption(), seed=1)


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
    assert [len(df) for df, _ in micro] == plan.sizes() and len(micro) == (n_df if half == 1 else -(-n_df // half))
    assert all(len(df) == len(dr) == len(set(dr.tolist())) for df, dr in micro)
    assert max(plan.sizes()) == half or n_df % half and max(plan.sizes()) < half
    forget = np.concatenate([df for df, _ in micro])
    assert sorted(forget.tolist()) == list(range(n_df))
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
    assert len(rows) == n // batch and max(seen.values()) == 1 and len(seen) == n // batch * batch
    every = SinglePlan(n, batch, 0, every_row=True).micro_batches(epoch)
    assert sorted(np.concatenate(every).tolist()) == list(range(n))


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 6), st.integers(1, 4))
def test_every_row_is_used_in_whole_steps_of_weighted_batches(n, size, world, accum):
    parts = world * accum
    sizes = batch_sizes(n, size, parts)
    if n < size * parts:
        assert len(sizes) < parts
        return
    assert sum(sizes) == n and len(sizes) % parts == 0 and min(sizes) >= 1
    assert max(sizes) <= max(size, 2) and max(sizes[-2 * parts :]) - min(sizes[-2 * parts :]) <= max(1, size - 1)
    for first in range(0, len(sizes), parts):
        numbers = range(first, first + parts)
        weights = [row_weight(sizes, number, parts) for number in numbers]
        assert sum(weights) == pytest.approx(parts)
        total = sum(sizes[first : first + parts])
        assert all(w / parts == pytest.approx(sizes[i] / total) for i, w in zip(numbers, weights, strict=True))
        gathered = [row_weight(sizes, number, parts, world) for number in numbers]
        assert sum(gathered) == pytest.approx(parts)
    if n % (size * parts) == 0:
        assert set(sizes) == {size} and {row_weight(sizes, i, parts) for i in range(len(sizes))} == {1.0}


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


def test_evaluation_chunks(pairs):
    items = list(eval_loader(pairs, 4, chunks=[3, 1]))
    assert [(item["chunk"], item["index"].tolist()) for item in items] == [(3, [12, 13, 14]), (1, [4, 5, 6, 7])]
    assert set(items[0]) == {"images", "captions", "index", "caption_id", "image_ids", "chunk"}
    loader = eval_loader(pairs, 4, num_workers=2)
    assert len(loader) == chunk_count(15, 4) == 4
    assert [i for item in loader for i in item["index"].tolist()] == list(range(15))
    assert list(eval_loader(pairs, 4, chunks=[])) == []
    with pytest.raises(IndexError, match=r"0\.\.3"):
        eval_loader(pairs, 4, chunks=[4])
