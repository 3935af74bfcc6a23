"""Rows of equal shape on disk, written and read by position: what is too large for memory and needed in any order.

A file is read by position and not memory-mapped: of a mapped file, a part that is cut off later ends the process.
Every row has a checksum, which is looked at whenever the row is read.
"""

from __future__ import annotations

import os
import struct
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch

from lavis.common.errors import DataError
from lavis.images.positioned import BINARY, close_all, read_at, write_at

MARK = struct.Struct("<Q")  # checksum + 1; 0: the row is not there
STATES, MARKS = "states", "marks"


class StateFile:
    """`n` rows (*shape) of one type in the folder `path`. Several processes may write different rows."""

    def __init__(self, path: Path, n: int, shape: Sequence[int], kind: torch.dtype) -> None:
        self.path, self.n, self.shape, self.kind = path, n, tuple(shape), kind
        self.row_bytes = torch.empty(self.shape, dtype=kind, device="meta").nbytes
        path.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | BINARY
        self._states, self._marks = (os.open(path / name, flags, 0o644) for name in (STATES, MARKS))
        weakref.finalize(self, close_all, self._states, self._marks)

    @property
    def complete(self) -> bool:
        """Whether every row has been written."""
        marks = read_at(self._marks, self.n * MARK.size, 0)
        whole = len(marks) == self.n * MARK.size and os.fstat(self._states).st_size == self.n * self.row_bytes
        return whole and all(mark for (mark,) in MARK.iter_unpack(marks))

    def write(self, first: int, rows: torch.Tensor) -> None:
        """Write rows (B, *shape) from number `first` on. Raises OSError."""
        for number, row in enumerate(rows.to(self.kind).cpu(), start=first):
            content = row.contiguous().view(torch.uint8).numpy().tobytes()
            write_at(self._states, content, number * self.row_bytes)
            write_at(self._marks, MARK.pack(zlib.crc32(content) + 1), number * MARK.size)

    def take(self, numbers: Sequence[int]) -> torch.Tensor:
        """Rows (B, *shape) of these numbers. Raises DataError for a row that is not there or has changed."""
        content = bytearray()
        for number in numbers:
            row = read_at(self._states, self.row_bytes, number * self.row_bytes)
            mark = read_at(self._marks, MARK.size, number * MARK.size)
            if len(row) != self.row_bytes or mark != MARK.pack(zlib.crc32(row) + 1):
                raise DataError(f"row {number} of {self.path / STATES} is damaged; delete that folder and start again")
            content += row
        return torch.frombuffer(content, dtype=self.kind).view(len(numbers), *self.shape)
