"""Decoded images on disk: a memory-mapped file that every worker, process and later run shares.

A cache is one folder named after what its pixels follow from (image names, processor, size):

| file | content |
|---|---|
| `pixels.u8` | n rows of 3·S·S bytes; the disk space is taken at the start |
| `rows.i64` | n rows of (checksum + 1 of the pixels or 0, bytes of the image file, its modification time in ns) |
| `about.json` | the key in words |

A row counts when its image file still has the size and time that were noted, and its pixels their checksum: a changed
image, a damaged cache and a half-written row are decoded again, and the log says how many.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lavis.common.errors import ConfigError
from lavis.images.store import ImageCache, ImageStore
from lavis.processors.image import ImageProcessor

log = logging.getLogger(__name__)

GIB = 2**30
FIELDS = 3
Stamp = Callable[[str], tuple[int, int]]
PIXELS, ROWS, ABOUT = "pixels.u8", "rows.i64", "about.json"


@dataclass(frozen=True)
class Caching:
    """Which decoded images are kept: `kind` none, memory (this process and its workers) or disk (later runs, too).

    `folder` and `gigabytes` (2³⁰ bytes, all caches there together) are for disk.
    """

    kind: str = "none"
    folder: str = "output/pixels"
    gigabytes: float = 20.0

    def build(
        self, root: Path, names: Sequence[str], processor: ImageProcessor, stamp: Stamp | None = None
    ) -> ImageCache | DiskCache | None:
        """The cache of these images; None for kind none, and where pixels differ from epoch to epoch."""
        if self.kind == "none" or not processor.deterministic:
            return None
        if self.kind == "memory":
            return ImageCache(len(names), processor.image_size)
        most = int(self.gigabytes * GIB)
        return DiskCache(self.folder, root, names, repr(processor), processor.image_size, most, stamp)


class DiskCache:
    """uint8 rows (n, 3, S, S) in a memory-mapped file, filled as images are met.

    Args:
        folder: where caches lie; this one gets a folder of its own there.
        root: folder that the image names are relative to.
        images: n names, a row each.
        processor: what makes the pixels, in words (part of the key). size: S.
        most_bytes: bound of all caches in `folder` together. Older caches are deleted for this one; rows that do not
            fit are decoded every time.
        stamp: (bytes, time) of an image; None: of its file under `root`.

    Raises ConfigError when the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        root: str | Path,
        images: Sequence[str],
        processor: str,
        size: int,
        most_bytes: int,
        stamp: Stamp | None = None,
    ) -> None:
        self.root, self.images, self.size = Path(root), list(images), size
        self._stamp_of = stamp or ImageStore(root).stamp
        self.row_bytes = 3 * size * size
        self.path = Path(folder) / cache_key(self.root, self.images, processor, size)
        self.kept = min(len(self.images), max(0, most_bytes) // (self.row_bytes + 8 * FIELDS))
        self._checked: set[int] = set()
        self.rebuilt = 0
        self._make_room(most_bytes)
        self._create({"processor": processor, "size": size, "images": len(self.images), "root": str(root)})
        self._open()

    def rows(self, indices: Sequence[int], make: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """The images of these rows, (B, 3, S, S); `make(i)` decodes those that are not (or no longer) there."""
        wanted = [int(i) for i in indices]
        found = torch.empty(len(wanted), 3, self.size, self.size, dtype=torch.uint8)
        for place, i in enumerate(wanted):
            found[place] = self._row(i, make)
        return found

    @property
    def full(self) -> bool:
        """True when every row was written, by whichever process."""
        return self.kept == len(self.images) and bool((self._rows[:, 0] > 0).all())

    def _row(self, i: int, make: Callable[[int], torch.Tensor]) -> torch.Tensor:
        if i >= self.kept:
            return make(i)
        if i in self._checked or self._valid(i):
            return torch.from_numpy(self._pixels[i])
        pixels = make(i)
        self._write(i, pixels)
        return pixels

    def _valid(self, i: int) -> bool:
        """Whether a row on disk may be used; looked at once in a process."""
        mark, length, changed = (int(x) for x in self._rows[i])
        if mark == 0:
            return False
        if (length, changed) != self._stamp(i) or mark != zlib.crc32(self._pixels[i].tobytes()) + 1:
            self.rebuilt += 1
            if self.rebuilt == 1:
                log.warning("%s: image %s changed or its cached pixels are damaged: decoded again", self.path, i)
            return False
        self._checked.add(i)
        return True

    def _write(self, i: int, pixels: torch.Tensor) -> None:
        """Pixels first, their checksum last: a row that was cut off never counts."""
        data = pixels.contiguous().numpy()
        self._rows[i, 0] = 0
        self._pixels[i] = data
        length, changed = self._stamp(i)
        self._rows[i, 1:] = (length, changed)
        self._rows[i, 0] = zlib.crc32(data.tobytes()) + 1
        self._checked.add(i)

    def _stamp(self, i: int) -> tuple[int, int]:
        return self._stamp_of(self.images[i])

    def _create(self, about: dict[str, Any]) -> None:
        """The files at their full length; a file of another length (a copy that was cut off) is begun anew."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name, length in ((PIXELS, self.kept * self.row_bytes), (ROWS, self.kept * FIELDS * 8)):
                file = self.path / name
                if not file.exists() or file.stat().st_size != length:
                    (self.path / ROWS).unlink(missing_ok=True)
                    with file.open("wb") as stream:
                        _reserve(stream.fileno(), length)
            (self.path / ABOUT).write_text(json.dumps(about), encoding="utf-8")
            os.utime(self.path)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"image cache {self.path} cannot be written: {reason}; set image_cache: none") from error

    def _open(self) -> None:
        shape = (self.kept, 3, self.size, self.size)
        if not self.kept:
            self._pixels, self._rows = np.zeros(shape, np.uint8), np.zeros((0, FIELDS), np.int64)
            return
        self._pixels = np.memmap(self.path / PIXELS, dtype=np.uint8, mode="r+", shape=shape)
        self._rows = np.memmap(self.path / ROWS, dtype=np.int64, mode="r+", shape=(self.kept, FIELDS))

    def _make_room(self, most_bytes: int) -> None:
        """Delete the caches that were not used for the longest time until this one fits."""
        if not self.path.parent.is_dir():
            return
        others = [part for part in self.path.parent.iterdir() if part != self.path and (part / ABOUT).is_file()]
        others.sort(key=_last_used)
        room = most_bytes - self.kept * (self.row_bytes + 8 * FIELDS)
        held = {part: _bytes_in(part) for part in others}
        for part in others:
            if sum(held.values()) <= room:
                return
            log.info("image cache %s is deleted: %.1f GiB are allowed for all", part, most_bytes / GIB)
            shutil.rmtree(part, ignore_errors=True)
            del held[part]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_pixels", "_rows")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()


def _reserve(file: int, length: int) -> None:
    """Take the disk space now: a map that meets a full disk later ends the process without a message."""
    if length and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, length)
    else:
        os.ftruncate(file, length)


def cache_key(root: Path, images: Iterable[str], processor: str, size: int) -> str:
    """The folder name of a cache: a hash of the root, the names in their order, the processor and the size."""
    found = hashlib.blake2b(digest_size=12)
    for part in (str(Path(root).resolve()), processor, str(size), *images):
        found.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return found.hexdigest()


def _last_used(path: Path) -> float:
    """When a file or folder was last changed; 0 where another process has deleted it meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _bytes_in(folder: Path) -> int:
    """What a folder's files hold; 0 where another process has deleted it meanwhile."""
    try:
        return sum(file.stat().st_size for file in folder.iterdir())
    except FileNotFoundError:
        return 0
