"""Reading and writing at a given byte of an open file, in one system call where there is one (Windows has none)."""

from __future__ import annotations

import os
import threading

BINARY = getattr(os, "O_BINARY", 0)  # flag for os.open; without it Windows translates line ends
_one_at_a_time = threading.Lock()  # the fallback moves the file's position, which its threads share


def close_all(*files: int) -> None:
    """Close open files, as a finalizer does."""
    for file in files:
        os.close(file)


def read_at(file: int, size: int, place: int) -> bytes:
    """Up to `size` bytes from byte `place` on; fewer at the end of the file. Raises OSError."""
    if hasattr(os, "pread"):
        return os.pread(file, size, place)
    with _one_at_a_time:
        os.lseek(file, place, os.SEEK_SET)
        return os.read(file, size)


def write_at(file: int, content: bytes, place: int) -> None:
    """Write from byte `place` on. Raises OSError."""
    if hasattr(os, "pwrite"):
        os.pwrite(file, content, place)
        return
    with _one_at_a_time:
        os.lseek(file, place, os.SEEK_SET)
        os.write(file, content)
