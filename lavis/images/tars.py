"""Images and captions in plain tar files (WebDataset's layout), read where they lie: nothing is unpacked.

A member's name is the image's name in the annotations. Where the members begin is found once, by walking over the
headers, and kept as arrays of 28 bytes a member; then any image is one read at its place, in any order and process.

Annotations may be tars as well. A sample is what bears one key (a name up to the first dot of its last part): an
image, and a caption as `.txt` or as the "caption" of a `.json`, whose other fields come along.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from lavis.common.errors import DataError, MissingFile
from lavis.common.files import replacing
from lavis.images.store import ImageStore

log = logging.getLogger(__name__)

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
BLOCK = 512
MOST_TEXT, MOST_IMAGE = 2**20, 2**28  # bytes of a member that is read
FIELDS = ("keys", "shards", "starts", "sizes")


def tar_files(storage: str | Path) -> list[Path]:
    """The shards that a path names: one .tar, a folder that holds *.tar itself, a glob, a range ({000..063}).

    Empty where it names something else.
    """
    text = str(storage)
    if Path(text).is_dir():
        return sorted(Path(text).glob("*.tar"))
    if not text.endswith(".tar"):
        return []
    if match := RANGE.search(text):
        first, last = match.groups()
        return [Path(text.replace(match[0], str(n).zfill(len(first)))) for n in range(int(first), int(last) + 1)]
    if any(sign in text for sign in "*?["):
        path = Path(text)
        return sorted(path.parent.glob(path.name)) or [path]
    return [Path(text)]


def members(path: Path, hint: str = "") -> Iterator[tarfile.TarInfo]:
    """The regular files of a plain tar, in order. Links, devices and folders are passed over.

    Raises MissingFile, and DataError where it is compressed, damaged, or breaks off.
    """
    try:
        with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            length = os.fstat(stream.fileno()).st_size
            for member in archive:
                archive.members = []  # pyrefly: ignore[missing-attribute] - tarfile would keep all of them
                if member.isreg() and member.sparse is None:
                    if member.offset_data + member.size > length:
                        raise DataError(f"{path} breaks off in member '{member.name}'; fetch the shard again")
                    yield member
            _check_end(path, stream, archive.offset)
    except FileNotFoundError as error:
        raise MissingFile(f"shard {path} does not exist" + (f"; {hint}" if hint else "")) from error
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError) as error:
        raise DataError(f"{path} is no plain tar file ({error}); {_remedy(path)}") from error


def _check_end(path: Path, stream: BinaryIO, offset: int) -> None:
    """A tar ends with blocks of zeros; tarfile takes anything else for an end as well."""
    stream.seek(offset)
    if stream.read(BLOCK) != bytes(BLOCK):
        raise DataError(f"{path} breaks off or is damaged at byte {offset}; fetch the shard again")


def _remedy(path: Path) -> str:
    try:
        packed = read_at(path, 0, 2) == b"\x1f\x8b"
    except OSError:
        packed = False
    return "it is compressed: unpack it with gunzip" if packed else "fetch the shard again"


def read_at(path: Path, start: int, size: int) -> bytes:
    """`size` bytes of a file from `start` on."""
    with path.open("rb", buffering=0) as stream:
        return os.pread(stream.fileno(), size, start)


def plain_name(name: str) -> str:
    return name.removeprefix("./")


class TarStore(ImageStore):
    """The images of tar shards by member name, with the interface of a folder of files.

    Args:
        files: shards. root: what names them, for messages and keys. folder: where the index is kept (None: nowhere).

    Raises MissingFile and DataError as `members` does, and for a name that two members bear.
    """

    def __init__(self, files: Sequence[Path], root: str | Path, hint: str = "", folder: Path | None = None) -> None:
        super().__init__(root, hint)
        self.files = list(files)
        self.index = _index(self.files, hint, folder)

    def check(self, images: Iterable[str]) -> None:
        """Make sure that every image is a member. Raises MissingFile (how many, the first three)."""
        wanted = list(dict.fromkeys(images))
        missing = [image for image in wanted if self.index.find(image) is None]
        if missing:
            text = f"{len(missing)} of {len(wanted)} images are in no shard of {self.root}, the first: "
            raise MissingFile(self._with_hint(text + ", ".join(missing[:3])))

    def stamp(self, image: str) -> tuple[int, int]:
        """What changes when an image does: (bytes, a hash of its shard's time and its place there)."""
        shard, start, size = self._place(image)
        return size, self.index.times[shard] ^ (start << 1)

    def _source(self, image: str) -> tuple[BinaryIO, str]:
        shard, start, size = self._place(image)
        where = f"{self.files[shard]}: {image}"
        if size > MOST_IMAGE:
            raise DataError(f"image {where} has {size} bytes: refused; replace it, or set run.on_bad_image=skip")
        return io.BytesIO(read_at(self.files[shard], start, size)), where

    def _place(self, image: str) -> tuple[int, int, int]:
        found = self.index.find(image)
        assert found is not None, "`check` comes first"
        return found


@dataclass(frozen=True)
class Index:
    """Where members lie: sorted 64-bit hashes of their names beside shard, first byte and size; times of the shards."""

    keys: np.ndarray
    shards: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    times: list[int]

    def find(self, name: str) -> tuple[int, int, int] | None:
        """Shard, first byte and bytes of a member."""
        key = _hash(plain_name(name))
        place = int(np.searchsorted(self.keys, key))
        if place == len(self.keys) or self.keys[place] != key:
            return None
        return int(self.shards[place]), int(self.starts[place]), int(self.sizes[place])


def _index(files: list[Path], hint: str, folder: Path | None) -> Index:
    """The index of these shards as they are now, from `folder` where it is kept there."""
    facts = [(str(path.resolve()), *_facts(path, hint)) for path in files]
    times = [changed for _, _, changed in facts]
    name = hashlib.blake2b(repr(facts).encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
    kept = None if folder is None else folder / f"{name}.npz"
    arrays = _load(kept, len(files))
    if arrays is None:
        arrays = _walk(files, hint)
        _keep(kept, arrays)
    return Index(*(arrays[field] for field in FIELDS), times=times)


def _facts(path: Path, hint: str) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise MissingFile(f"shard {path} does not exist" + (f"; {hint}" if hint else "")) from error
    return found.st_size, found.st_mtime_ns


def _walk(files: list[Path], hint: str) -> dict[str, np.ndarray]:
    rows: list[np.ndarray] = []
    for number, path in enumerate(tqdm(files, desc="reading shards", unit="shard", disable=None)):
        found = [
            (_hash(plain_name(m.name)), number, m.offset_data, m.size)
            for m in members(path, hint)
            if m.name.lower().endswith(ENDINGS)
        ]
        rows.append(np.array(found, dtype=np.uint64).reshape(-1, len(FIELDS)))
    table = np.concatenate(rows)
    table = table[np.argsort(table[:, 0], kind="stable")]
    _check_distinct(files, table)
    kinds = (np.uint64, np.int32, np.int64, np.int64)
    return {name: table[:, i].astype(kind) for i, (name, kind) in enumerate(zip(FIELDS, kinds, strict=True))}


def _check_distinct(files: list[Path], table: np.ndarray) -> None:
    twice = np.flatnonzero(table[1:, 0] == table[:-1, 0])
    if len(twice):
        places = [files[int(table[i, 1])] for i in (twice[0], twice[0] + 1)]
        names = {_hash(plain_name(m.name)): m.name for m in members(places[0])}
        name = names[int(table[twice[0], 0])]
        raise DataError(f"{places[0]} and {places[1]} both have a member '{name}'; image names must differ")


def _load(path: Path | None, files: int) -> dict[str, np.ndarray] | None:
    """The arrays of an index of so many shards; None where there is none that can be used."""
    if path is None or not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = {field: kept[field] for field in FIELDS}
        if _sound(arrays, files):
            return arrays
        reason = "its rows do not fit"
    except Exception as error:
        reason = str(error).partition("\n")[0]
    log.warning("%s is damaged (%s); the shards are read again", path, reason)
    return None


def _sound(arrays: dict[str, np.ndarray], files: int) -> bool:
    keys, shards, starts, sizes = (arrays[field] for field in FIELDS)
    same = {a.shape for a in arrays.values()} == {(len(keys),)}
    return (
        same
        and bool((keys[1:] > keys[:-1]).all() and ((shards >= 0) & (shards < files)).all())
        and bool(((starts >= BLOCK) & (sizes >= 0)).all())
    )


def _keep(path: Path | None, arrays: dict[str, np.ndarray]) -> None:
    """Whole or not at all; where the folder cannot be written, the next run reads the shards again."""
    if path is None:
        return
    try:
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
    except OSError as error:
        log.warning("the index of shards cannot be kept: %s", error)


def _hash(name: str) -> int:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def samples(path: Path, hint: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Annotation items {image, caption, …} of a shard's samples, each with where it stands. Raises DataError."""
    sample: dict[str, Any] = {}
    before = None
    for member in members(path, hint):
        folder, _, last = plain_name(member.name).rpartition("/")
        stem, _, ending = last.partition(".")
        key = f"{folder}/{stem}" if folder else stem
        if key != before and sample:
            yield sample, f"{path}: sample {before}"
            sample = {}
        before = key
        sample |= _part(path, member, f".{ending.lower()}")
    if sample:
        yield sample, f"{path}: sample {before}"


def _part(path: Path, member: tarfile.TarInfo, ending: str) -> dict[str, Any]:
    """What a member adds to its sample."""
    if ending in ENDINGS:
        return {"image": plain_name(member.name)}
    if ending not in (".txt", ".json"):
        return {}
    where = f"{path}: {member.name}"
    if member.size > MOST_TEXT:
        raise DataError(f"{where} has {member.size} bytes, a caption at most {MOST_TEXT}")
    try:
        text = read_at(path, member.offset_data, member.size).decode("utf-8-sig")
        content = json.loads(text) if ending == ".json" else {"caption": text.strip()}
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where} is no {'JSON' if ending == '.json' else 'UTF-8 text'}: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected an object with a caption")
    return {name: value for name, value in content.items() if name != "image"}
