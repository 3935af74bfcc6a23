"""Image files under one root: path checks, decoding, and a cache in memory."""

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

from lavis.common.errors import DataError, MissingFile, first_few, missing_file
from lavis.common.files import encodable

ADVICE = "replace it, or set run.on_bad_image=skip"
log = logging.getLogger(__name__)

# Pillow would start Ghostscript for others (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# What Pillow's decoders raise on damaged files.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error)


class ImageStore:
    """Opens images by their path relative to `root`, and refuses paths that lead out of it.

    `root` itself may be a symbolic link. `hint` says what to run when images are missing. Results of checks are cached,
    so data sets that share a root should share a store.
    """

    def __init__(self, root: str | Path, hint: str = "") -> None:
        self.root = Path(root)
        self.hint = hint
        self._real = os.path.realpath(self.root)
        self._checked: set[str] = set()
        self._errors: dict[str, str | None] = {}

    def check(self, images: Iterable[str]) -> None:
        """Check that every image exists and lies inside the root. Lists each folder once.

        Raises DataError for a path that leaves the root, and MissingFile with the number of missing images and the
        first three.
        """
        folders: dict[str, list[str]] = {}
        wanted = [image for image in dict.fromkeys(images) if image not in self._checked]
        for image in wanted:
            folders.setdefault(_parent(image), []).append(image)
        if wanted and not self.root.is_dir():
            raise missing_file("image root", self.root, self.hint)
        missing = {image for folder, members in folders.items() for image in self._missing(folder, members)}
        if missing:
            first = first_few([image for image in wanted if image in missing])
            text = f"{len(missing)} of {len(wanted)} images do not exist under {self.root}, the first: {first}"
            raise MissingFile(self._with_hint(text))
        self._checked.update(wanted)

    def open(self, image: str) -> Image.Image:
        """Decode an image. Raises DataError (unreadable, huge or outside the root) and MissingFile."""
        self.check([image])
        source, path = self._source(image)
        try:
            with Image.open(source, formats=FORMATS) as file:
                if file.width * file.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
                    raise DataError(f"image {path} is too large ({file.width} x {file.height} pixels); {ADVICE}")
                file.load()
                return file
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DataError(f"image {path} is too large ({error}); {ADVICE}") from error
        except FileNotFoundError as error:
            raise missing_file("image", path, self.hint) from error
        except DataError:
            raise
        except BROKEN as error:
            raise DataError(f"image {path} cannot be decoded ({_reason(error)}); {ADVICE}") from error

    def stamp(self, image: str) -> tuple[int, int]:
        """(bytes, modification time in ns) of an image's file; a cache compares it to detect changes."""
        status = os.stat(self.root / image)
        return status.st_size, status.st_mtime_ns

    def _source(self, image: str) -> tuple[Any, Any]:
        """What Pillow opens, and its name in messages."""
        return self.root / image, self.root / image

    def unusable(self, images: Sequence[str], threads: int = 4) -> dict[str, str]:
        """Decode every image once and return {image: error message} for those that fail."""
        self.check(images)
        unchecked = [image for image in dict.fromkeys(images) if image not in self._errors]
        with ThreadPoolExecutor(threads) as pool:
            results = pool.map(self._error, unchecked)
            progress = tqdm(results, total=len(unchecked), desc="checking images", unit="image", disable=None)
            self._errors.update(zip(unchecked, progress, strict=True))
        return {image: error for image in images if (error := self._errors[image]) is not None}

    def _error(self, image: str) -> str | None:
        try:
            self.open(image)
        except DataError as error:
            return str(error)
        return None

    def _missing(self, folder: str, images: list[str]) -> list[str]:
        """Images of one folder that do not exist. Only links and names missing from its listing cost a system call."""
        path = self.root / folder
        if not self._inside(path):
            raise DataError(self._outside(images[0]))
        try:
            with os.scandir(path) as listing:
                links = {item.name: item.is_symlink() for item in listing}
        except OSError:
            return images
        missing = []
        for image in images:
            link = links.get(PurePosixPath(image).name, True)
            if link and not self._inside(self.root / image):
                raise DataError(self._outside(image))
            if link and not (self.root / image).exists():
                missing.append(image)
        return missing

    def _inside(self, path: Path) -> bool:
        return os.path.commonpath([self._real, os.path.realpath(path)]) == self._real

    def _outside(self, image: str) -> str:
        return (
            f"image path '{image}' leaves the image root {self.root} through a symbolic link; "
            "move the file inside, or make the root itself the link"
        )

    def _with_hint(self, text: str) -> str:
        return f"{text}; {self.hint}" if self.hint else text


def _parent(image: str) -> str:
    """Folder of a relative path. Raises DataError for an absolute path, '..' or an invalid file name."""
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
    """uint8 rows (n, 3, S, S) in memory shared with forked loader workers; each is filled when its image is first used.

    The memory is an anonymous map, so it is taken page by page as rows are written.
    """

    def __init__(self, n: int, size: int) -> None:
        self.n, self.size = n, size
        self._allocate()

    def rows(self, indices: Sequence[int], decode: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """The images of these rows, (B, 3, S, S); `decode(i)` supplies those not cached yet."""
        rows = torch.as_tensor(indices, dtype=torch.int64)
        for i in rows[self._filled[rows] == 0].unique().tolist():
            self._pixels[i] = decode(i)
            self._filled[i] = 1
        return self._pixels[rows]

    @property
    def full(self) -> bool:
        """True once every row is filled."""
        return bool(self._filled.all())

    def _allocate(self) -> None:
        pixels = self.n * 3 * self.size * self.size
        shared = torch.frombuffer(mmap.mmap(-1, pixels + self.n), dtype=torch.uint8)
        self._pixels = shared[:pixels].view(self.n, 3, self.size, self.size)
        self._filled = shared[pixels:]

    def __getstate__(self) -> dict[str, Any]:
        """The shape alone: an anonymous map cannot be pickled, so a spawned worker starts with an empty cache."""
        return {"n": self.n, "size": self.size}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)
