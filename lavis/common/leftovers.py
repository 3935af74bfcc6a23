"""Temporary files: what they are called, and what becomes of those that killed processes left."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import threading
import time
from pathlib import Path

ABANDONED = 86_400  # seconds after which nobody writes a temporary file of another host any more


def temporary_name(path: Path) -> Path:
    """Where to write what `path` will be: a name that no other thread or process uses; later runs sweep it away."""
    thread = threading.get_native_id()
    return path.with_name(f".{path.name}.{thread}.{socket.gethostname()}.{os.getpid()}.tmp")


def remove_leftovers(folder: Path) -> None:
    """Delete temporary files of killed processes in a folder that this process has locked."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


@functools.cache
def sweep(folder: Path) -> None:
    """Delete what killed processes left half-written in a folder; once a process, as a folder may be large."""
    for path in folder.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if not _in_use(path):
                path.unlink()


def _in_use(path: Path) -> bool:
    """Whether the process that a temporary file is named after may still write it. Raises OSError if it is gone."""
    host, _, number = path.name.removesuffix(".tmp").rpartition(".")
    if host.endswith(f".{socket.gethostname()}") and number.isdecimal() and os.name == "posix":
        return _alive(int(number))
    return time.time() - path.stat().st_mtime < ABANDONED


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
