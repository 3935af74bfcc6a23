"""Image files under one root: path checks, decoding, and a cache in memory."""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar

import torch
from PIL import Image
from tqdm import tqdm

from lavis.common.errors import DataError, MissingFile, first_few, missing_file
from lavis.common.files import odd_character

ADVICE = "replace it, or set run.on_bad_image=skip"
log = logging.getLogger(__name__)

# Pillow would start Ghostscript for others (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
# What Pillow's decoders raise on damaged files.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error)
Refusal = Callable[[int, int], str]


class ImageStore:
    """Opens images by their path relative to `root`, and refuses paths that lead out of it.

    `root` itself may be a symbolic link; `links` permits links inside it that lead out. `hint` says what to run when
    images are missing. Results of checks are cached, so data sets that share a root should share a store. `called`
    is how messages call an image: images to forget not by their names (lavis/common/aliases.py).

    Class attribute: `missing`, what a message says of images that `absent` returns, before the root.
    """

    missing: ClassVar[str] = "do not exist under"

    def __init__(self, root: str | Path, hint: str = "", *, links: bool = False) -> None:
        self.root = Path(root)
        self.hint, self.links = hint, links
        self.called: Callable[[str], str] = str
        self._real = os.path.realpath(self.root)
        self._checked: set[str] = set()
        self._found: dict[str, tuple[int, int] | str] = {}

    def check(self, images: Iterable[str]) -> None:
        """Check that every image exists and lies inside the root.

        Raises MissingFile with the number of missing images and the first three, and DataError as `absent` does.
        """
        wanted = images if isinstance(images, Collection) else list(images)
        missing = self.absent(wanted)
        if missing:
            text = f"{len(missing)} of {len(set(wanted))} images {self.missing} {self.root}, the first: "
            raise MissingFile(self._with_hint(text + first_few([self.called(image) for image in missing[:3]])))

    def absent(self, images: Iterable[str]) -> list[str]:
        """The images that do not exist, in order. Lists each folder once.

        Raises DataError for a path that leaves the root.
        """
        folders: dict[str, list[str]] = {}
        wanted = [image for image in dict.fromkeys(images) if image not in self._checked]
        for image in wanted:
            folders.setdefault(parent_folder(image, self.called(image)), []).append(image)
        if wanted and not self.root.is_dir():
            raise missing_file("image root", self.root, self.hint)
        missing = {image for folder, members in folders.items() for image in self._missing(folder, members)}
        self._checked.update(image for image in wanted if image not in missing)
        return [image for image in wanted if image in missing]

    def listing(self, folders: Iterable[str]) -> list[str]:
        """The images in these folders; in all folders if one does not exist (its name may be spelled otherwise)."""
        paths = [self.root / folder for folder in folders]
        files = (file for path in paths for file in path.iterdir()) if all(map(os.path.isdir, paths)) else None
        return [file.relative_to(self.root).as_posix() for file in files or self.root.rglob("*") if file.is_file()]

    def open(self, image: str, shrink: Callable[[Image.Image], None] | None = None) -> Image.Image:
        """Decode an image. Raises DataError (unreadable, huge or outside the root) and MissingFile.

        shrink: called with the opened file, may ask its decoder for a smaller image (ImageProcessor.shrink).
        """
        self.check([image])
        source, name = self.source(image), self.shown(image)
        try:
            with Image.open(source, formats=FORMATS) as file:
                if file.width * file.height > (Image.MAX_IMAGE_PIXELS or float("inf")):
                    raise DataError(f"image {name} is too large ({file.width} x {file.height} pixels); {ADVICE}")
                if shrink is not None:
                    shrink(file)
                file.load()
                return file
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise DataError(f"image {name} is too large ({error}); {ADVICE}") from error
        except FileNotFoundError as error:
            raise missing_file("image", name, self.hint) from error
        except DataError:
            raise
        except BROKEN as error:
            raise DataError(f"image {name} cannot be decoded ({_reason(error)}); {ADVICE}") from error

    def stamp(self, image: str) -> tuple[int, int]:
        """(bytes, modification time in ns) of an image's file; a cache compares it to detect changes."""
        status = os.stat(self.root / image)
        return status.st_size, status.st_mtime_ns

    def lengths(self, images: Sequence[str]) -> list[int]:
        """The bytes of these images' files."""
        return [self.stamp(image)[0] for image in images]

    def beginning(self, image: str, size: int = 4096) -> bytes:
        """The first bytes of an image's file."""
        return self._content(image, size)

    def digest(self, image: str) -> str:
        """A hash of an image's bytes."""
        return hashlib.blake2b(self._content(image, -1), digest_size=16).hexdigest()

    def _content(self, image: str, size: int) -> bytes:
        source = self.source(image)
        with source.open("rb") if isinstance(source, Path) else source as stream:
            return stream.read(size)

    def source(self, image: str) -> Any:
        """What Pillow opens."""
        return self.root / image

    def shown(self, image: str) -> str:
        """An image in messages: where it lies, or what it is called if its name must not be said."""
        called = self.called(image)
        return self.place(image) if called == image else called

    def place(self, image: str) -> str:
        """Where an image lies."""
        return str(self.root / image)

    def unusable(self, images: Sequence[str], refusal: Refusal, threads: int = 4) -> dict[str, str]:
        """Decode every image once and return {image: error message} for those that fail or are refused.

        refusal: (height, width) -> why an image of this size cannot be processed, or "".
        """
        self.check(images)
        unchecked = [image for image in dict.fromkeys(images) if image not in self._found]
        with ThreadPoolExecutor(threads) as pool:
            results = pool.map(self._look, unchecked)
            progress = tqdm(results, total=len(unchecked), desc="checking images", unit="image", disable=None)
            self._found.update(zip(unchecked, progress, strict=True))
        reasons = {image: self._reason_against(image, refusal) for image in images}
        return {image: reason for image, reason in reasons.items() if reason}

    def _look(self, image: str) -> tuple[int, int] | str:
        """An image's height and width, or why it cannot be read."""
        try:
            decoded = self.open(image)
        except DataError as error:
            return str(error)
        return decoded.height, decoded.width

    def _reason_against(self, image: str, refusal: Refusal) -> str:
        found = self._found[image]
        if isinstance(found, str):
            return found
        reason = refusal(*found)
        return self.unfit(image, reason) if reason else ""

    def unfit(self, image: str, reason: str) -> str:
        """The message about an image that was decoded and cannot be processed."""
        return f"image {self.shown(image)} cannot be used: {reason}; {ADVICE}"

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
            if link and not os.path.exists(self.root / image):  # pathlib raises for a name that is too long
                missing.append(image)
        return missing

    def _inside(self, path: Path) -> bool:
        return self.links or os.path.commonpath([self._real, os.path.realpath(path)]) == self._real

    def _outside(self, image: str) -> str:
        return (
            f"image path '{self.called(image)}' leaves the image root {self.root} through a symbolic link; "
            "move the file inside, make the root itself the link, or set datasets.<name>.follow_links=true"
        )

    def _with_hint(self, text: str) -> str:
        return f"{text}; {self.hint}" if self.hint else text


def parent_folder(image: str, called: str = "") -> str:
    """Folder of a relative path. Raises DataError for an absolute path, '..' or an invalid file name.

    called: what the message calls the image, if not by its path.
    """
    path = PurePosixPath(image)
    windows = PureWindowsPath(image)
    if path.is_absolute() or windows.drive or windows.root or ".." in path.parts or ".." in windows.parts:
        shown = called or image
        raise DataError(f"image path '{shown}' leaves the image root: only relative paths without '..' are allowed")
    odd = odd_character(image, null=True) or ("" if path.name else "it is empty")
    if odd:
        raise DataError(f"image path {called or image!r} is not a valid file name: {odd}")
    return path.parent.as_posix()


def _reason(error: BaseException) -> str:
    """The system's and Pillow's own messages about a file quote its path, which is left out here."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image of a known format"
    return getattr(error, "strerror", None) or str(error)


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
