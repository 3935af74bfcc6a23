"""Locks between processes: files that the kernel unlocks when their process ends, for whatever reason."""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)
HELD_ELSEWHERE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
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
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        _held.add(stream)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD_ELSEWHERE:
                raise Locked(str(path)) from error
            log.warning("%s cannot be locked (%s): make sure that no other process writes there", path, error.strerror)
        try:
            yield stream
        finally:
            _held.discard(stream)


def locked(path: Path) -> bool:
    """Whether any process holds this lock file."""
    import fcntl

    try:
        with path.open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno in HELD_ELSEWHERE
    return False


def release_in_child() -> None:
    """Close the locks that a forked worker inherited, so that the run's end releases them and not the worker's."""
    for stream in list(_held):
        stream.close()
    _held.clear()
