"""Loader workers leave signals to the main process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from lavis.common.locks import release_in_child

LEFT_TO_MAIN = (signal.SIGTERM, signal.SIGINT)  # a group's signal reaches the workers too


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Hold SIGTERM and SIGINT back while workers are forked; they arrive at the end of the block.

    A group's SIGTERM would otherwise end a worker that has not yet got as far as `init_worker`, and the run with it; a
    KeyboardInterrupt between two forks would leave a worker for which the process waits for ever when it ends. The
    workers inherit the mask. A mask holds for one thread, and Python runs handlers in the main one whichever thread
    the kernel has chosen, so the handlers are replaced as well.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    arrived: list[int] = []
    handlers = {number: signal.signal(number, lambda n, _: arrived.append(n)) for number in LEFT_TO_MAIN}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_MAIN)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number in dict.fromkeys(arrived):
            signal.raise_signal(number)


def init_worker(number: int) -> None:
    """Leave signals and the run folder's lock to the main process, which saves a checkpoint before it ends."""
    for name in LEFT_TO_MAIN:
        signal.signal(name, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_MAIN)
    release_in_child()
