"""Image files under one root: which paths are allowed, what can be decoded, what is kept in memory."""

from __future__ import annotations

import logging
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

from lavis.common.errors import DataError, MissingFile
from lavis.common.files import encodable

REMEDY = "replace it, or set run.on_bad_image=skip"
log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error)


class ImageStore:
    """Opens images by their path relative to `root`, and nothing outside it.

    `root` itself may be a link; no path below it may lead out of it. `hint` says what to run when images are
    missing. Verdicts are remembered, so several data sets over one root share them.
    """

    def __init__(self, root: str | Path, hint: str = "") -> None:
        self.root = Path(root)
        self.hint = hint
        self._real = os.path.realpath(self.root)
        self._checked: set[str] = set()
        self._faults: dict[str, str | None] = {}

    def check(self, images: Iterable[str]) -> None:
        """Make sure that every image lies inside the root and exists; one directory listing per folder.

        Raises DataError (a path that leaves the root) and MissingFile (how many, the first three).
        """
        folders: dict[str, list[str]] = {}
        wanted = [image for image in dict.fromkeys(images) if image not in self._checked]
        for image in wanted:
            folders.setdefault(_parent(image), []).append(image)
        if wanted and not self.root.is_dir():
            raise MissingFile(self._with_hint(f"image root {self.root} does not exist"))
        missing = {image for folder, members in folders.items() for image in self._missing(folder, members)}
        if missing:
            first = ", ".join([image for image in wanted if image in missing][:3])
            text = f"{len(missing)} of {len(wanted)} images do not exist under {self.root}, the first: {first}"
            raise MissingFile(self._with_hint(text))
        self._checked.update(wanted)

    def open(self, image: str) -> Image.Image:
        """The decoded image. Raises DataError (unreadable, huge, outside the root) and MissingFile."""
        self.check([image])
        source, path = self._source(image)
        try:
            with Image.open(source, formats=FORMATS) as file:
                if file.width * file.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
                    raise DataError(f"image {path} is huge ({file.width} x {file.height} pixels): refused; {REMEDY}")
                file.load()
                return file
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DataError(f"image {path} is huge: refused ({error}); {REMEDY}") from error
        except FileNotFoundError as error:
            raise MissingFile(self._with_hint(f"image {path} does not exist")) from error
        except DataError:
            raise
        except BROKEN as error:
            raise DataError(f"image {path} cannot be decoded ({_reason(error)}); {REMEDY}") from error

    def stamp(self, image: str) -> tuple[int, int]:
        """What changes when an image's file does: its bytes, its time of change in ns."""
        found = os.stat(self.root / image)
        return found.st_size, found.st_mtime_ns

    def _source(self, image: str) -> tuple[Any, Any]:
        """What Pillow opens, and what to call it in a message."""
        return self.root / image, self.root / image

    def faults(self, images: Sequence[str], threads: int = 4) -> dict[str, str]:
        """Decode every image once; those that cannot be used, with the reason."""
        self.check(images)
        fresh = [image for image in dict.fromkeys(images) if image not in self._faults]
        with ThreadPoolExecutor(threads) as pool:
            verdicts = pool.map(self._fault, fresh)
            progress = tqdm(verdicts, total=len(fresh), desc="checking images", unit="image", disable=None)
            self._faults.update(zip(fresh, progress, strict=True))
        return {image: fault for image in images if (fault := self._faults[image]) is not None}

    def _fault(self, image: str) -> str | None:
        try:
            self.open(image)
        except DataError as error:
            return str(error)
        return None

    def _missing(self, folder: str, members: list[str]) -> list[str]:
        path = self.root / folder
        if not self._inside(path):
            raise DataError(self._leaving(members[0]))
        try:
            with os.scandir(path) as listing:
                links = {item.name: item.is_symlink() for item in listing}
        except OSError:
            return members
        missing = []
        for image in members:
            link = links.get(PurePosixPath(image).name, True)
            if link and not self._inside(self.root / image):
                raise DataError(self._leaving(image))
            if link and not (self.root / image).exists():
                missing.append(image)
        return missing

    def _inside(self, path: Path) -> bool:
        return os.path.commonpath([self._real, os.path.realpath(path)]) == self._real

    def _leaving(self, image: str) -> str:
        return (
            f"image path '{image}' leaves the image root {self.root} through a link; "
            "put the file inside, or make the root itself the link"
        )

    def _with_hint(self, text: str) -> str:
        return f"{text}; {self.hint}" if self.hint else text


def _parent(image: str) -> str:
    """Folder part of a relative path. Raises DataError for absolute paths, '..' and what no path may hold."""
    path = PurePosixPath(image)
    windows = PureWindowsPath(image)
    if path.is_absolute() or windows.drive or windows.root or ".." in path.parts or ".." in windows.parts:
        raise DataError(f"image path '{image}' leaves the image root: only relative paths without '..' are allowed")
    if "\0" in image or not encodable(image) or not path.name:
        raise DataError(f"image path {image!r} is not a valid file name")
    return path.parent.as_posix()


def _reason(error: BaseException) -> str:
    return "not an image of a known format" if isinstance(error, Image.UnidentifiedImageError) else str(error)


class ImageCache:
    """uint8 rows (n, 3, S, S), filled as images are met and shared with forked loader workers.

    The memory is an anonymous map: pages count only once they are written.
    """

    def __init__(self, n: int, size: int) -> None:
        self.n, self.size = n, size
        self._allocate()

    def rows(self, indices: Sequence[int], make: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """The images of these rows, (B, 3, S, S); `make(i)` decodes the ones not met before."""
        wanted = torch.as_tensor(indices, dtype=torch.int64)
        for i in wanted[self._filled[wanted] == 0].unique().tolist():
            self._pixels[i] = make(i)
            self._filled[i] = 1
        return self._pixels[wanted]

    @property
    def full(self) -> bool:
        """True when every row has been met."""
        return bool(self._filled.all())

    def _allocate(self) -> None:
        pixels = self.n * 3 * self.size * self.size
        shared = torch.frombuffer(mmap.mmap(-1, pixels + self.n), dtype=torch.uint8)
        self._pixels = shared[:pixels].view(self.n, 3, self.size, self.size)
        self._filled = shared[pixels:]

    def __getstate__(self) -> dict[str, Any]:
        return {"n": self.n, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)
