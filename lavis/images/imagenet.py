"""ImageNet-1k's validation images, from class folders, WebDataset tars or parquet shards.

- Class folders: `<path>/<wnid>/*` or `<path>/val/<wnid>/*` (n01440764, …).
- Tars: a folder of *.tar, one file, or a range in WebDataset's notation (`…/{000000..000063}.tar`). Each image is a
  member `<key>.jpg` (or jpeg, png, webp) with its class number in `<key>.cls`.
- Parquet: a folder (or its `data/`) of *.parquet, one file, or a range, with columns `image` (the file's bytes, or the
  struct {bytes, path}) and `label`. If some names contain "val", the other shards are ignored.

Class numbers are 0 to 999 in the order of the wnids. Images are read only when they are needed.
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

from lavis.common.errors import DataError, MissingFile, first_few
from lavis.images.tars import expanded, members, read_at
from lavis.processors.image import ImageProcessor

CLASSES = 1000
ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
FORMS = "class folders (<wnid>/ or val/<wnid>/), *.tar with jpg and cls, or *.parquet with image and label"


@dataclass(frozen=True)
class Sample:
    """One image: a key that changes with its file, its class number, and a function that returns the file's bytes."""

    key: str
    label: int
    read: Callable[[], bytes]


class ImageNet:
    """The images of run.imagenet: one key and one label each in `keys` and `labels`, and their pixels on demand.

    Raises MissingFile, and DataError if there are no images, for an unknown wnid, and for a class number that is
    missing or out of range.
    """

    def __init__(self, path: str, processor: ImageProcessor, threads: int = 1) -> None:
        self.path, self.processor, self.threads = path, processor, max(1, threads)
        self._samples = list(_samples(path))
        if not self._samples:
            raise DataError(f"run.imagenet: {path} contains no images; expected {FORMS}")
        wrong = [sample for sample in self._samples if not 0 <= sample.label < CLASSES]
        if wrong:
            raise DataError(
                f"run.imagenet: {len(wrong)} of {len(self._samples)} images of {path} have a class number outside "
                f"0..{CLASSES - 1}, the first: {wrong[0].key} has {wrong[0].label}; use the validation set (the test "
                "set has no labels)"
            )
        self.keys = [sample.key for sample in self._samples]
        self.labels = [sample.label for sample in self._samples]

    def pixels(self, numbers: Sequence[int]) -> torch.Tensor:
        """Pixels of these images, uint8 (B, 3, S, S). Raises DataError for one that cannot be decoded."""
        files = [(self._samples[i].key, self._samples[i].read()) for i in numbers]
        with ThreadPoolExecutor(self.threads) as pool:
            return torch.stack(list(pool.map(lambda file: self._decode(*file), files)))

    def _decode(self, key: str, data: bytes) -> torch.Tensor:
        try:
            with Image.open(io.BytesIO(data)) as image:
                self.processor.shrink(image)
                image.load()
                return self.processor(image)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"run.imagenet: image {key} cannot be decoded ({error}); replace or remove it") from error


@functools.cache
def wnids() -> tuple[str, ...]:
    """The 1,000 wnids in the order of the class numbers."""
    from timm.data import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())


def _samples(path: str) -> Iterator[Sample]:
    files = _files(path)
    if not files:
        return _folders(Path(path))
    read = _tar if files[0].suffix == ".tar" else _parquet
    return (sample for file in files for sample in read(file))


def _files(path: str) -> list[Path]:
    """The tars or parquet shards that a path names; none for a folder of class folders. Raises MissingFile."""
    if Path(path).is_dir():
        files = next((shards for shards in map(_shards, (Path(path), Path(path) / "data")) if shards), [])
    else:
        files = expanded(path)
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise MissingFile(f"run.imagenet: {missing[0]} does not exist; expected {FORMS}")
    return files


def _shards(folder: Path) -> list[Path]:
    tars = sorted(folder.glob("*.tar"))
    shards = sorted(folder.glob("*.parquet"))
    return tars or [path for path in shards if "val" in path.stem] or shards


def _folders(root: Path) -> Iterator[Sample]:
    known = {wnid: number for number, wnid in enumerate(wnids())}
    parent = root / "val" if (root / "val").is_dir() else root
    folders = [path for path in sorted(parent.iterdir()) if path.is_dir()]
    unknown = [path.name for path in folders if path.name not in known]
    if unknown:
        raise DataError(
            f"run.imagenet: {len(unknown)} of {len(folders)} folders in {parent} are not named after a wnid of "
            f"ImageNet-1k, the first: {first_few(unknown)}; expected names like n01440764"
        )
    for folder in folders:
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in ENDINGS:
                status = file.stat()
                key = f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}"
                yield Sample(key, known[folder.name], file.read_bytes)


def _tar(path: Path) -> Iterator[Sample]:
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, int] = {}
    for member in members(path):
        stem, ending = member.name.rsplit(".", 1) if "." in member.name else (member.name, "")
        if ending == "cls":
            labels[stem] = _number(read_at(path, member.offset_data, member.size), f"{path}: {member.name}")
        elif f".{ending.lower()}" in ENDINGS:
            images[stem] = member
    unlabelled = [stem for stem in images if stem not in labels]
    if unlabelled:
        count, first = len(unlabelled), unlabelled[0]
        raise DataError(f"run.imagenet: {path}: {count} images have no .cls member, the first: {first}; add them")
    changed = path.stat().st_mtime_ns
    for stem, member in images.items():
        read = functools.partial(read_at, path, member.offset_data, member.size)
        yield Sample(f"{path.resolve()}|{member.name}|{member.size}|{changed}", labels[stem], read)


def _number(data: bytes, where: str) -> int:
    try:
        return int(data.decode().strip())
    except ValueError as error:
        raise DataError(f"run.imagenet: {where} must contain a class number, found {data[:40]!r}") from error


def _parquet(path: Path) -> Iterator[Sample]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        missing = [name for name in ("image", "label") if name not in file.schema_arrow.names]
        if missing:
            raise DataError(f"run.imagenet: {path} has no column '{missing[0]}'; it has {file.schema_arrow.names}")
        labels = [file.read_row_group(g, columns=["label"])["label"].to_pylist() for g in range(file.num_row_groups)]
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"run.imagenet: {path} is not a parquet file ({error}); download it again") from error
    changed = path.stat().st_mtime_ns
    for group, numbers in enumerate(labels):
        for row, label in enumerate(numbers):
            read = functools.partial(_cell, path, group, row)
            yield Sample(f"{path.resolve()}|{group}|{row}|{changed}", -1 if label is None else int(label), read)


def _cell(path: Path, group: int, row: int) -> bytes:
    return _group(path, group)[row]


@functools.lru_cache(maxsize=1)
def _group(path: Path, group: int) -> list[bytes]:
    """The image files of a row group. One group is cached, because images are read in order."""
    from pyarrow import parquet

    cells = parquet.ParquetFile(path).read_row_group(group, columns=["image"])["image"].to_pylist()
    return [(cell.get("bytes") if isinstance(cell, dict) else cell) or b"" for cell in cells]
