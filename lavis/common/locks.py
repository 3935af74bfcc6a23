"""Locks between processes: files that the kernel unlocks when their process ends, for whatever reason."""

from __future__ import annotations

import contextlib
import errno
import importlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

log = logging.getLogger(__name__)
HELD_ELSEWHERE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
POLL_SECONDS = 0.1
_held: set[IO[str]] = set()


class Locked(Exception):  # noqa: N818 - the caller turns it into a suitable message
    """Another process holds the lock."""


@contextlib.contextmanager
def lock(path: Path, *, wait: bool = False) -> Iterator[IO[str]]:
    """Hold a lock file. The kernel releases it when the process ends, for whatever reason.

    Yields the open file; a program that inherits it holds the lock until it ends, too.

    wait=False raises Locked if another process holds it. If the file system cannot lock, a warning is logged and the
    block runs without a lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        _held.add(stream)
        try:
            _take(stream, wait)
        except OSError as error:
            if error.errno in HELD_ELSEWHERE:
                raise Locked(str(path)) from error
            log.warning("%s cannot be locked (%s): make sure that no other process writes there", path, error.strerror)
        try:
            yield stream
        finally:
            _held.discard(stream)


def locked(path: Path) -> bool:
    """Whether any process holds this lock file; False if it cannot be opened."""
    try:
        stream = path.open("r+" if os.access(path, os.W_OK) else "r")
    except OSError:
        return False
    with stream:
        try:
            _take(stream, wait=False)
        except OSError as error:
            return error.errno in HELD_ELSEWHERE
    return False


def _take(stream: IO[str], wait: bool) -> None:
    """Lock an open file until it is closed. Raises OSError, with a number of HELD_ELSEWHERE if another has it."""
    try:
        import fcntl
    except ImportError:
        _take_on_windows(stream, wait)
    else:
        fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def _take_on_windows(stream: IO[str], wait: bool) -> None:
    """Lock the file's first byte; it need not exist. Windows' own way to wait gives up after ten seconds."""
    msvcrt: Any = importlib.import_module("msvcrt")  # elsewhere a type checker knows nothing in it
    while True:
        try:
            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
            return
        except OSError as error:
            if not wait or error.errno not in HELD_ELSEWHERE:
                raise
        time.sleep(POLL_SECONDS)


def release_in_child() -> None:
    """Close the locks that a forked worker inherited, so that the run's end releases them and not the worker's."""
    for stream in list(_held):
        stream.close()
    _held.clear()
