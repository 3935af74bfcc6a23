"""Looks for byte strings in every file below a folder, decompressed."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path


def contents(output: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, and every member of every archive. Written without the library's own scan."""
    for path in sorted(p for p in output.rglob("*") if p.is_file()):
        data = path.read_bytes()
        yield str(path), data
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from ((f"{path}:{name}", archive.read(name)) for name in archive.namelist())
        elif data[:2] == b"\x1f\x8b":
            yield f"{path}:gz", gzip.decompress(data)


def found(output: Path, needles: list[bytes]) -> list[tuple[str, bytes]]:
    return [(name, needle) for name, data in contents(output) for needle in needles if needle in data]
