"""ImageNet-1k's validation pictures, wherever they lie: class folders, a WebDataset tar set, or parquet shards.

- A folder: `<path>/<wnid>/*` or `<path>/val/<wnid>/*` (n01440764, …).
- Tars: a folder of *.tar, one file, or a range as WebDataset writes it (`…/{000000..000063}.tar`); each picture has a
  member `<key>.jpg` (jpeg, png, webp) and its class number in `<key>.cls`.
- Parquet: a folder (or its `data/`) of *.parquet, one file, or a range; columns `image` (the file's bytes, or the
  struct {bytes, path}) and `label`. Where the name of some shards holds "val", the others are left aside.

Class numbers are 0 … 999 in the order of the wnids. Pictures are read when they are asked for.
"""

from __future__ import annotations

import functools
import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from lavis.common.errors import DataError, MissingFile
from lavis.images.tars import RANGE, members, read_at
from lavis.processors.image import ImageProcessor

CLASSES = 1000
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
FORMS = "class folders (<wnid>/ or val/<wnid>/), *.tar with jpg and cls, or *.parquet with image and label"


@dataclass(frozen=True)
class Picture:
    """One picture: what tells it from others, its class, and how to get the bytes of its file."""

    key: str
    label: int
    read: Callable[[], bytes]


class ImageNet:
    """Pictures under run.imagenet: `keys` and `labels`, one each, and their pixels on demand.

    Raises MissingFile, and DataError for a folder without pictures, an unknown wnid, a class number out of range or
    a picture without one.
    """

    def __init__(self, path: str, processor: ImageProcessor, threads: int = 1) -> None:
        self.path, self.processor, self.threads = path, processor, max(1, threads)
        self._pictures = list(_pictures(path))
        if not self._pictures:
            raise DataError(f"run.imagenet: {path} holds no pictures; expected {FORMS}")
        wrong = [p for p in self._pictures if not 0 <= p.label < CLASSES]
        if wrong:
            raise DataError(
                f"run.imagenet: {len(wrong)} of {len(self._pictures)} pictures of {path} have a class number outside "
                f"of 0..{CLASSES - 1}, the first: {wrong[0].key} has {wrong[0].label}; the test set has no labels, "
                "take the validation set"
            )
        self.keys = [picture.key for picture in self._pictures]
        self.labels = [picture.label for picture in self._pictures]

    def pixels(self, numbers: Sequence[int]) -> torch.Tensor:
        """Pixels of these pictures, uint8 (B, 3, S, S). Raises DataError for one that cannot be decoded."""
        raw = [(self._pictures[i].key, self._pictures[i].read()) for i in numbers]
        with ThreadPoolExecutor(self.threads) as pool:
            return torch.stack(list(pool.map(lambda item: self._decoded(*item), raw)))

    def _decoded(self, key: str, data: bytes) -> torch.Tensor:
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                return self.processor(image)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"run.imagenet: picture {key} cannot be decoded ({error})") from error


@functools.cache
def wnids() -> tuple[str, ...]:
    """The 1,000 wnids in the order of the class numbers."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())


def _pictures(path: str) -> Iterator[Picture]:
    files = _files(path)
    if files and files[0].suffix == ".tar":
        return (picture for file in files for picture in _tar(file))
    if files:
        return (picture for file in files for picture in _parquet(file))
    return _folders(Path(path))


def _files(path: str) -> list[Path]:
    """The tars or parquet shards that a path names; none for a folder of class folders. Raises MissingFile."""
    match = RANGE.search(path)
    if match:
        first, last = match.groups()
        numbers = range(int(first), int(last) + 1)
        found = [Path(path.replace(match[0], str(n).zfill(len(first)))) for n in numbers]
    elif Path(path).is_dir():
        found = next((f for f in map(_shards, (Path(path), Path(path) / "data")) if f), [])
    else:
        found = [Path(path)]
    missing = [file for file in found if not file.is_file()]
    if missing:
        raise MissingFile(f"run.imagenet: {missing[0]} does not exist; expected {FORMS}")
    return found


def _shards(folder: Path) -> list[Path]:
    tars = sorted(folder.glob("*.tar"))
    shards = sorted(folder.glob("*.parquet"))
    return tars or [path for path in shards if "val" in path.stem] or shards


def _folders(root: Path) -> Iterator[Picture]:
    known = {wnid: number for number, wnid in enumerate(wnids())}
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()]
    if (root / "val").is_dir():
        folders = [path for path in sorted((root / "val").iterdir()) if path.is_dir()]
    strange = [path.name for path in folders if path.name not in known]
    if strange:
        raise DataError(
            f"run.imagenet: {len(strange)} of {len(folders)} folders in {folders[0].parent} are no wnid of "
            f"ImageNet-1k, the first: {', '.join(strange[:3])}; expected names as n01440764"
        )
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in ENDINGS:
                facts = file.stat()
                key = f"{file.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
                yield Picture(key, known[folder.name], file.read_bytes)


def _tar(path: Path) -> Iterator[Picture]:
    pictures: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, int] = {}
    for member in members(path):
        stem, ending = member.name.rsplit(".", 1) if "." in member.name else (member.name, "")
        if ending == "cls":
            labels[stem] = _number(read_at(path, member.offset_data, member.size), f"{path}: {member.name}")
        elif f".{ending.lower()}" in ENDINGS:
            pictures[stem] = member
    silent = [stem for stem in pictures if stem not in labels]
    if silent:
        raise DataError(f"run.imagenet: {path}: {len(silent)} pictures have no .cls member, the first: {silent[0]}")
    stamp = path.stat().st_mtime_ns
    for stem, member in pictures.items():
        read = functools.partial(read_at, path, member.offset_data, member.size)
        yield Picture(f"{path.resolve()}|{member.name}|{member.size}|{stamp}", labels[stem], read)


def _number(data: bytes, where: str) -> int:
    try:
        return int(data.decode().strip())
    except ValueError as error:
        raise DataError(f"run.imagenet: {where} must hold a class number, found {data[:40]!r}") from error


def _parquet(path: Path) -> Iterator[Picture]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        lacking = [name for name in ("image", "label") if name not in file.schema_arrow.names]
        if lacking:
            raise DataError(f"run.imagenet: {path} has no column '{lacking[0]}'; it has {file.schema_arrow.names}")
        labels = [file.read_row_group(g, columns=["label"])["label"].to_pylist() for g in range(file.num_row_groups)]
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"run.imagenet: {path} is no parquet file ({error})") from error
    stamp = path.stat().st_mtime_ns
    for group, numbers in enumerate(labels):
        for row, label in enumerate(numbers):
            read = functools.partial(_cell, path, group, row)
            yield Picture(f"{path.resolve()}|{group}|{row}|{stamp}", -1 if label is None else int(label), read)


def _cell(path: Path, group: int, row: int) -> bytes:
    return _group(path, group)[row]


@functools.lru_cache(maxsize=1)
def _group(path: Path, group: int) -> list[bytes]:
    """The pictures of a row group; the last one is remembered, for they are read in order."""
    from pyarrow import parquet

    cells = parquet.ParquetFile(path).read_row_group(group, columns=["image"])["image"].to_pylist()
    return [(cell.get("bytes") if isinstance(cell, dict) else cell) or b"" for cell in cells]
