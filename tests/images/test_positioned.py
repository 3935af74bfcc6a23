"""Reading and writing at a byte, with and without the system's own calls."""

from __future__ import annotations

import os

import pytest

from lavis.images.positioned import BINARY, read_at, write_at


@pytest.mark.parametrize("system", ["Unix", "Windows"])
def test_bytes_at_a_place(tmp_path, monkeypatch, system):
    if system == "Windows":
        monkeypatch.delattr(os, "pread")
        monkeypatch.delattr(os, "pwrite")
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = os.open(path, os.O_RDWR | BINARY)
    try:
        write_at(file, b"\r\n", 3)
        assert [read_at(file, 4, place) for place in (2, 8, 20)] == [b"2\r\n5", b"89", b""]
    finally:
        os.close(file)
