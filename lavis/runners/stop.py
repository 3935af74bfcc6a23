"""On SIGTERM a run finishes its step, writes a checkpoint and ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM


class Stopped(Exception):  # noqa: N818 - not an error: the run obeyed the signal
    """Training ended on request after writing a checkpoint; the same command continues from it."""


class StopFlag:
    """Set by the signal handler, read between steps."""

    def __init__(self) -> None:
        self.raised = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.raised = True

    @contextmanager
    def listening(self) -> Iterator[StopFlag]:
        """Catch SIGTERM in here (in the main thread only); afterwards the former handler is restored."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        former = signal.signal(signal.SIGTERM, self._handle)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, former)
