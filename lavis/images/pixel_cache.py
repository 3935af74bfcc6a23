"""Decoded images on disk, in a file shared by all workers, processes and later runs.

A cache is one folder. Its name is a hash of what the pixels depend on: image names, processor, size.

| file | content |
|---|---|
| `pixels.u8` | n rows of 3·S·S bytes; the disk space is reserved at the start |
| `rows.i64` | n rows of (checksum of the pixels + 1, 0 if empty; bytes of the image file; its modification time, ns) |
| `about.json` | the key in words |

A row is valid if its image file still has the recorded size and time and its pixels match the checksum. Changed images,
damaged pixels and half-written rows are decoded again; the first one in a process is logged. Rows are read and written
with plain system calls: of a memory-mapped file, a part that another process has cut off ends the reader (SIGBUS).
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import struct
import weakref
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lavis.common.files import beyond_limit
from lavis.common.secrets import secret_of
from lavis.images.positioned import BINARY, close_all, read_at, write_at
from lavis.images.store import ImageCache, ImageStore
from lavis.processors.image import ImageProcessor

log = logging.getLogger(__name__)

GIB = 2**30
FIELDS = 3
ROW = struct.Struct(f"={FIELDS}q")
Stamp = Callable[[str], tuple[int, int]]
PIXELS, ROWS, ABOUT = "pixels.u8", "rows.i64", "about.json"


@dataclass(frozen=True)
class Caching:
    """Where decoded images are cached: `kind` is none, memory (this process and its workers) or disk (later runs, too).

    `folder` and `gigabytes` (2³⁰ bytes, for all caches in it together) apply to disk; the names of caches are keyed by
    the secret of `secret_folder` (empty: of `folder`).
    """

    kind: str = "none"
    folder: str = "output/pixels"
    gigabytes: float = 20.0
    secret_folder: str = ""

    def build(
        self, root: Path, names: Sequence[str], processor: ImageProcessor, stamp: Stamp | None = None
    ) -> ImageCache | DiskCache | None:
        """Create the cache of these images. None if `kind` is none or if the processor is random.

        None as well, with a warning, if the disk is full or the folder cannot be written.
        """
        if self.kind == "none" or not processor.deterministic:
            return None
        if self.kind == "memory":
            return ImageCache(len(names), processor.image_size)
        limit, size = int(self.gigabytes * GIB), processor.image_size
        try:
            secret = secret_of(Path(self.secret_folder or self.folder))
            return DiskCache(self.folder, root, names, repr(processor), size, limit, stamp, secret)
        except OSError as error:
            reason = error.strerror or error
            log.warning("no image cache in %s (%s): images are decoded every time", self.folder, reason)
            return None


class DiskCache:
    """uint8 rows (n, 3, S, S) in a file; each is filled when its image is first used.

    Args:
        folder: contains all caches, each in a folder of its own.
        root: folder that the image names are relative to.
        images: n names, one per row.
        processor: repr of the image processor, part of the key. size: S.
        max_bytes: limit for all caches in `folder` together. The least recently used ones are deleted to make room;
            rows that still do not fit are decoded every time.
        stamp: returns (bytes, time) of an image. Default: of its file under `root`.
        secret: keys the hash that names the cache's folder.

    Raises OSError if the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        root: str | Path,
        images: Sequence[str],
        processor: str,
        size: int,
        max_bytes: int,
        stamp: Stamp | None = None,
        secret: bytes = b"",
    ) -> None:
        self.root, self.images, self.size = Path(root), list(images), size
        self._stamp_of = stamp or ImageStore(root).stamp
        self.row_bytes = 3 * size * size
        self.path = Path(folder) / cache_key(secret, self.root, self.images, processor, size)
        self.capacity = min(len(self.images), max(0, max_bytes) // (self.row_bytes + ROW.size))
        self.invalid = 0
        self._usable = True
        self._make_room(max_bytes)
        self._create({"processor": processor, "size": size, "images": len(self.images), "root": str(root)})
        self._open()

    def rows(self, indices: Sequence[int], decode: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """The images of these rows, (B, 3, S, S); `decode(i)` supplies rows that are missing or no longer valid."""
        pixels = torch.empty(len(indices), 3, self.size, self.size, dtype=torch.uint8)
        for place, i in enumerate(indices):
            pixels[place] = self._row(int(i), decode)
        return pixels

    @property
    def full(self) -> bool:
        """True once all rows are written, by any process."""
        marks = np.fromfile(self.path / ROWS, np.int64)[::FIELDS]
        return len(self.images) == self.capacity == len(marks) and bool((marks > 0).all())

    def _row(self, i: int, decode: Callable[[int], torch.Tensor]) -> torch.Tensor:
        if i >= self.capacity:
            return decode(i)
        pixels = self._read(i)
        if pixels is None:
            pixels = decode(i)
            self._write(i, pixels)
        return pixels

    def _read(self, i: int) -> torch.Tensor | None:
        """A row on disk; None if it is empty or must not be used."""
        facts = read_at(self._rows, ROW.size, i * ROW.size)
        mark, length, changed = ROW.unpack(facts) if len(facts) == ROW.size else (0, 0, 0)
        if mark == 0:
            return None
        pixels = bytearray(read_at(self._pixels, self.row_bytes, i * self.row_bytes))
        if (length, changed) == self._stamp(i) and len(pixels) == self.row_bytes and mark == zlib.crc32(pixels) + 1:
            return torch.frombuffer(pixels, dtype=torch.uint8).view(3, self.size, self.size)
        self.invalid += 1
        if self.invalid == 1:
            log.warning("%s: image %s changed or its cached pixels are damaged; decoding it again", self.path, i)
        return None

    def _write(self, i: int, pixels: torch.Tensor) -> None:
        """Write a row. The checksum comes last, so that a half-written row is never valid."""
        if not self._usable:
            return
        data, place = pixels.contiguous().numpy().tobytes(), i * ROW.size
        try:
            write_at(self._rows, ROW.pack(0, 0, 0), place)
            write_at(self._pixels, data, i * self.row_bytes)
            write_at(self._rows, ROW.pack(zlib.crc32(data) + 1, *self._stamp(i)), place)
        except OSError as error:
            self._usable = False
            log.warning("%s cannot be written (%s): images are decoded every time", self.path, error.strerror or error)

    def _stamp(self, i: int) -> tuple[int, int]:
        return self._stamp_of(self.images[i])

    def _create(self, about: dict[str, Any]) -> None:
        """Create the files at full length. A file of another length (an interrupted copy) is replaced."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            for name, length in ((PIXELS, self.capacity * self.row_bytes), (ROWS, self.capacity * ROW.size)):
                file = self.path / name
                if not file.exists() or file.stat().st_size != length:
                    (self.path / ROWS).unlink(missing_ok=True)  # old checksums must not outlive their pixels
                    with file.open("wb") as stream:
                        _reserve(stream.fileno(), length)
            (self.path / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        except OSError:
            shutil.rmtree(self.path, ignore_errors=True)  # a part would take the room that others need
            raise
        os.utime(self.path)

    def _open(self) -> None:
        self._pixels, self._rows = (os.open(self.path / name, os.O_RDWR | BINARY) for name in (PIXELS, ROWS))
        weakref.finalize(self, close_all, self._pixels, self._rows)

    def _make_room(self, max_bytes: int) -> None:
        """Delete other caches, the least recently used first, until this one fits."""
        if not self.path.parent.is_dir():
            return
        others = [part for part in self.path.parent.iterdir() if part != self.path and (part / ABOUT).is_file()]
        for part in beyond_limit(others, max_bytes - self.capacity * (self.row_bytes + ROW.size)):
            log.info("deleting image cache %s: all caches together may take %.1f GiB", part, max_bytes / GIB)
            shutil.rmtree(part, ignore_errors=True)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_pixels", "_rows")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


def _reserve(file: int, length: int) -> None:
    """Reserve disk space now, so that a disk without room is noticed before anything is decoded."""
    if length and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, length)
    else:
        os.ftruncate(file, length)


def cache_key(secret: bytes, root: Path, images: Iterable[str], processor: str, size: int) -> str:
    """The folder name of a cache: a hash of the root, the names in order, the processor and the size, keyed."""
    digest = hashlib.blake2b(digest_size=12, key=secret)
    for part in (str(Path(root).resolve()), processor, str(size), *images):
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()
