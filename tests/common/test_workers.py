"""Signals that reach a process group while loader workers start."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from lavis.datasets.loaders import MicroBatchLoader

HOOKS: list[Callable[[], None]] = []
os.register_at_fork(before=lambda: [hook() for hook in HOOKS])  # stays for the life of the process


class Numbers(Dataset):
    in_memory = False

    def __getitem__(self, index: int) -> int:
        return index


@pytest.fixture(autouse=True)
def no_hooks_later() -> Iterator[None]:
    yield
    HOOKS.clear()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("whose", ["the main process", "a worker"])
def test_a_signal_while_workers_start_ends_none_of_them(
    whose: str, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent in the very moment: before a fork, or when torch has set its own handlers in the worker and we have not."""
    main, seen = os.getpid(), list[int]()
    former = signal.signal(number, lambda *_: seen.append(number))

    def send(threads: int = 0) -> None:
        if (os.getpid() == main) == (whose == "the main process"):
            os.kill(os.getpid(), number)

    HOOKS.append(send)
    monkeypatch.setattr(torch, "set_num_threads", send)  # what a worker calls next
    try:
        items = list(MicroBatchLoader(Numbers(), list(range(8)), num_workers=2))  # type: ignore[arg-type]
    finally:
        signal.signal(number, former)
    assert np.array_equal(items, range(8))
    assert bool(seen) == (whose == "the main process")


def test_ctrl_c_that_reaches_another_thread_leaves_no_worker() -> None:
    """The kernel may choose any thread; Python then interrupts the main one, wherever it is."""
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    HOOKS.append(lambda: signal.pthread_kill(other.ident or 0, signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):
            list(MicroBatchLoader(Numbers(), list(range(8)), num_workers=2))  # type: ignore[arg-type]
    finally:
        done.set()
    assert_no_worker_is_left()


def test_a_second_ctrl_c_while_workers_end_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """It arrives when all have ended."""
    original, sent = _MultiProcessingDataLoaderIter._shutdown_workers, list[int]()

    def impatient(items: _MultiProcessingDataLoaderIter) -> None:
        if not sent:
            sent.append(signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        original(items)

    monkeypatch.setattr(_MultiProcessingDataLoaderIter, "_shutdown_workers", impatient)
    items = iter(MicroBatchLoader(Numbers(), list(range(8)), num_workers=2))  # type: ignore[arg-type]
    next(items)
    with pytest.raises(KeyboardInterrupt):
        items.close()  # type: ignore[attr-defined]
    assert_no_worker_is_left()


def assert_no_worker_is_left() -> None:
    deadline = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert multiprocessing.active_children() == []
