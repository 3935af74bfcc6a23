"""Images inside a table (parquet, `datasets`) are copied once into a tar file, from which any image is one read away.

Next to `<key>.tar` lies `<key>.jsonl` with the rows: the place of each, and its cells with the member's name in place
of the image. It is written last, so where it exists both files are complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image
from tqdm import tqdm

from lavis.common.errors import DataError
from lavis.common.files import json_lines, key_of, replacing
from lavis.images.store import BROKEN
from lavis.images.tars import ENDINGS
from lavis.tables.readers import Row, read_rows
from lavis.tables.sources import Source

ENDING_OF = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "BMP": ".bmp",
    "GIF": ".gif",
    "TIFF": ".tiff",
    "PPM": ".ppm",
}


@dataclass(frozen=True)
class Packed:
    """A table's images in a tar file, and its rows."""

    tar: Path
    rows: Path

    def read(self) -> Iterator[Row]:
        """The rows; their image cells name members of the tar file."""
        for _, (place, cells) in json_lines(self.rows, "list of packed rows"):
            yield Row(cells, place)


def contains_images(source: Source, column: str) -> bool:
    """Whether the first filled image cell of a table contains bytes and not a path."""
    if not source.carries_images:
        return False
    filled = (row.cells.get(column) for row in read_rows(source))
    return image_bytes(next((cell for cell in filled if cell), None)) is not None


def image_bytes(cell: Any) -> bytes | None:
    """The bytes of a cell: bytes, or {bytes, path} as `datasets` stores images."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return content if isinstance(content, bytes) else None


def pack(source: Source, column: str, folder: Path, prefix: str = "") -> Packed:
    """Copy the images of a table to `folder` unless they are there; `prefix` starts every image's name."""
    key = _key(source, column, prefix)
    packed = Packed(folder / f"{key}.tar", folder / f"{key}.jsonl")
    if not packed.rows.is_file():
        with replacing(packed.rows) as rows, replacing(packed.tar) as tar:
            _copy(source, column, prefix, tar, rows)
    return packed


def _key(source: Source, column: str, prefix: str) -> str:
    path = Path(source.path)
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return key_of((source.path, column, prefix, stamps))


def _copy(source: Source, column: str, prefix: str, tar: Path, rows: Path) -> None:
    names = _Names(prefix)
    with tarfile.open(tar, "w") as archive, rows.open("w", encoding="utf-8") as lines:
        bar = tqdm(read_rows(source), desc=f"copying images of {source.path}", unit="image", disable=None)
        for number, row in enumerate(bar, start=1):
            content = image_bytes(row.cells.get(column))
            name = ""
            if content:
                name, fresh = names.of(row.cells[column], content, number)
                if fresh:
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
            lines.write(_line(row, column, name))


def _line(row: Row, column: str, name: str) -> str:
    cells = {key: value for key, value in row.cells.items() if not isinstance(value, bytes)} | {column: name}
    try:
        return json.dumps([row.place, cells], default=str) + "\n"
    except (TypeError, ValueError) as error:
        raise DataError(f"{row.place} cannot be stored: {error}") from error


@dataclass
class _Names:
    """Names for images: the path that a row gives, or its number where it gives none or another image has that path."""

    prefix: str
    digests: dict[str, bytes] = field(default_factory=dict)

    def of(self, cell: Any, content: bytes, number: int) -> tuple[str, bool]:
        """The name of an image, and whether it is new."""
        digest = hashlib.blake2b(content, digest_size=16).digest()
        given = cell.get("path") if isinstance(cell, dict) else None
        stem, ending = f"{number:08d}", _ending(content)
        name = stem + ending
        if isinstance(given, str) and (path := PurePosixPath(given.replace("\\", "/"))).name:
            inside = not path.is_absolute() and ".." not in path.parts
            name = path.as_posix() if inside else path.name
            name += "" if path.suffix.lower() in ENDINGS else ending
        if self.digests.get(name, digest) != digest:
            name = f"{stem}_{PurePosixPath(name).name}"
        fresh = name not in self.digests
        self.digests[name] = digest
        return self.prefix + name, fresh


def _ending(content: bytes) -> str:
    """The usual ending of an image's format; .jpg for other content, which is reported when it is read."""
    try:
        with Image.open(io.BytesIO(content), formats=tuple(ENDING_OF)) as image:
            return ENDING_OF[str(image.format)]
    except (*BROKEN, Image.DecompressionBombError):
        return ".jpg"
