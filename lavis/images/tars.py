"""Images in plain tar files (WebDataset's layout), read in place without unpacking.

An image's name in the annotations is the name of its tar member. One pass over the headers builds an index, 28 bytes
per member, which is stored; from then on any process can fetch any image with a single read.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from lavis.common.errors import DataError, missing_file
from lavis.common.files import check_file, key_of, replacing
from lavis.images.pieces import pieces
from lavis.images.store import ADVICE, ImageStore

log = logging.getLogger(__name__)

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
BLOCK = 512
MOST_IMAGE = 2**28  # bytes; larger members are not read
FIELDS = ("keys", "shards", "starts", "sizes")


def tar_files(storage: str | Path) -> list[Path]:
    """The shards that a path stands for: one .tar file, a folder of *.tar files, a glob or a range ({000..063}).

    Empty if it is none of these.
    """
    text = str(storage)
    if Path(text).is_dir():
        return sorted(Path(text).glob("*.tar"))
    if not text.endswith(".tar"):
        return []
    if not RANGE.search(text) and any(sign in text for sign in "*?["):
        path = Path(text)
        return sorted(path.parent.glob(path.name)) or [path]
    return expanded(text)


def expanded(text: str) -> list[Path]:
    """The files of a range in WebDataset's notation, `…/{000..063}.tar`; without a range the one file it names."""
    match = RANGE.search(text)
    if match is None:
        return [Path(text)]
    first, last = match.groups()
    return [Path(text.replace(match[0], str(n).zfill(len(first)))) for n in range(int(first), int(last) + 1)]


def members(path: Path, hint: str = "") -> Iterator[tarfile.TarInfo]:
    """The regular files of a plain tar, in order. Links, devices and folders are skipped.

    Raises MissingFile, and DataError if the tar is compressed, damaged or truncated.
    """
    check_file(path, "shard", hint)
    try:
        with path.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            length = os.fstat(stream.fileno()).st_size
            for member in archive:
                archive.members = []  # pyrefly: ignore[missing-attribute] - tarfile would hold all in memory
                if member.isreg() and member.sparse is None:
                    if member.offset_data + member.size > length:
                        raise DataError(f"{path} is truncated in member '{member.name}'; download the shard again")
                    yield member
            _check_end(path, stream, archive.offset)
    except DataError:
        raise
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError) as error:
        raise DataError(f"{path} is not a plain tar file ({error}); {_advice(path)}") from error


def _check_end(path: Path, stream: BinaryIO, offset: int) -> None:
    """Raise DataError unless a block of zeros follows: tarfile takes damage for the end of the archive."""
    stream.seek(offset)
    if stream.read(BLOCK) != bytes(BLOCK):
        raise DataError(f"{path} is truncated or damaged at byte {offset}; download the shard again")


def _advice(path: Path) -> str:
    try:
        gzipped = read_at(path, 0, 2) == b"\x1f\x8b"
    except OSError:
        gzipped = False
    return "it is compressed: unpack it with gunzip" if gzipped else "download the shard again"


def read_at(path: Path, start: int, size: int) -> bytes:
    """Read `size` bytes of a file from byte `start` on."""
    with path.open("rb", buffering=0) as stream:
        stream.seek(start)
        return stream.read(size)


def plain_name(name: str) -> str:
    """A member's name without the leading "./" that `tar` adds for a folder."""
    return name.removeprefix("./")


class TarStore(ImageStore):
    """Opens the images of tar shards by member name, like an ImageStore over a folder.

    Args:
        files: shards. root: the path that names them, for messages and cache keys.
        folder: where the index is stored (None: it is not).

    Raises MissingFile and DataError as `members` does, and DataError if two members have the same name.
    """

    missing = "are in no shard of"

    def __init__(self, files: Sequence[Path], root: str | Path, hint: str = "", folder: Path | None = None) -> None:
        super().__init__(root, hint)
        self.files = list(files)
        self.index = _index(self.files, hint, folder)

    def absent(self, images: Iterable[str]) -> list[str]:
        """The images that are in no shard, in order."""
        missing: dict[str, None] = {}
        for part in pieces(images):
            missing |= dict.fromkeys(part[i] for i in np.flatnonzero(self.index.rows(part) < 0).tolist())
        return list(missing)

    def listing(self, folders: Iterable[str]) -> list[str]:
        """Nothing: the index has hashes, not names."""
        return []

    def stamp(self, image: str) -> tuple[int, int]:
        """(bytes, hash of the shard's modification time and the image's position); a cache compares it."""
        shard, start, size = self._find(image)
        return size, self.index.times[shard] ^ (start << 1)

    def lengths(self, images: Sequence[str]) -> list[int]:
        return self.index.sizes[self.index.rows(images)].tolist()

    def source(self, image: str) -> BinaryIO:
        shard, start, size = self._find(image)
        if size > MOST_IMAGE:
            raise DataError(f"image {self.shown(image)} is too large ({size} bytes); {ADVICE}")
        return io.BytesIO(read_at(self.files[shard], start, size))

    def _content(self, image: str, size: int) -> bytes:
        shard, start, whole = self._find(image)
        return read_at(self.files[shard], start, whole if size < 0 else min(size, whole))

    def place(self, image: str) -> str:
        return f"{self.files[self._find(image)[0]]}: {image}"

    def _find(self, image: str) -> tuple[int, int, int]:
        place = self.index.find(image)
        assert place is not None, "call `check` first"
        return place


@dataclass(frozen=True)
class Index:
    """Where every member is: 64-bit hashes of the names, sorted, with shard, first byte and size; the shards' times.

    Times are modification times in ns.
    """

    keys: np.ndarray
    shards: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    times: list[int]

    def find(self, name: str) -> tuple[int, int, int] | None:
        """(shard, first byte, size in bytes) of a member; None if there is none of that name."""
        row = int(self.rows([name])[0])
        return None if row < 0 else (int(self.shards[row]), int(self.starts[row]), int(self.sizes[row]))

    def rows(self, names: Sequence[str]) -> np.ndarray:
        """The row of each member, (n,) int64; -1 where there is none of that name."""
        keys = np.frombuffer(b"".join(map(_digest, names)), dtype="<u8")
        rows = np.searchsorted(self.keys, keys)
        known = rows < len(self.keys)
        known[known] = self.keys[rows[known]] == keys[known]
        return np.where(known, rows, -1)


def _index(files: list[Path], hint: str, folder: Path | None) -> Index:
    """The index of these shards as they are now, loaded from `folder` if it is stored there."""
    facts = [(str(path.resolve()), *_facts(path, hint)) for path in files]
    times = [changed for _, _, changed in facts]
    stored = None if folder is None else folder / f"{key_of(facts)}.npz"
    arrays = _load(stored, len(files))
    if arrays is None:
        arrays = _scan(files, hint)
        _store(stored, arrays)
    return Index(*(arrays[field] for field in FIELDS), times=times)


def _facts(path: Path, hint: str) -> tuple[int, int]:
    """(bytes, modification time in ns) of a shard."""
    try:
        return (status := path.stat()).st_size, status.st_mtime_ns
    except OSError as error:
        raise missing_file("shard", path, hint) from error


def _scan(files: list[Path], hint: str) -> dict[str, np.ndarray]:
    """Build the index arrays from the headers of all shards."""
    parts: list[np.ndarray] = []
    for number, path in enumerate(tqdm(files, desc="reading shards", unit="shard", disable=None)):
        rows = [
            (_hash(m.name), number, m.offset_data, m.size)
            for m in members(path, hint)
            if m.name.lower().endswith(ENDINGS)
        ]
        parts.append(np.array(rows, dtype=np.uint64).reshape(-1, len(FIELDS)))
    table = np.concatenate(parts)
    table = table[np.argsort(table[:, 0], kind="stable")]
    _check_distinct(files, table)
    kinds = (np.uint64, np.int32, np.int64, np.int64)
    return {name: table[:, i].astype(kind) for i, (name, kind) in enumerate(zip(FIELDS, kinds, strict=True))}


def _check_distinct(files: list[Path], table: np.ndarray) -> None:
    repeated = np.flatnonzero(table[1:, 0] == table[:-1, 0])
    if len(repeated):
        first, second = (files[int(table[i, 1])] for i in (repeated[0], repeated[0] + 1))
        names = {_hash(m.name): m.name for m in members(first)}
        name = names[int(table[repeated[0], 0])]
        raise DataError(f"{first} and {second} both have a member '{name}'; image names must differ")


def _load(path: Path | None, files: int) -> dict[str, np.ndarray] | None:
    """The stored arrays of an index of `files` shards; None if there are none or they are damaged."""
    if path is None or not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {field: stored[field] for field in FIELDS}
        if _consistent(arrays, files):
            return arrays
        reason = "inconsistent rows"
    except Exception as error:
        reason = str(error).partition("\n")[0]
    log.warning("%s is damaged (%s); reading the shards again", path, reason)
    return None


def _consistent(arrays: dict[str, np.ndarray], files: int) -> bool:
    keys, shards, starts, sizes = (arrays[field] for field in FIELDS)
    same_length = {a.shape for a in arrays.values()} == {(len(keys),)}
    return (
        same_length
        and bool((keys[1:] > keys[:-1]).all() and ((shards >= 0) & (shards < files)).all())
        and bool(((starts >= BLOCK) & (sizes >= 0)).all())
    )


def _store(path: Path | None, arrays: dict[str, np.ndarray]) -> None:
    """Store the arrays. If the folder is not writable, the next run reads the shards again."""
    if path is None:
        return
    try:
        with replacing(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
    except OSError as error:
        log.warning("the index of the shards cannot be stored: %s", error)


def _hash(name: str) -> int:
    return int.from_bytes(_digest(name), "little")


def _digest(name: str) -> bytes:
    return hashlib.blake2b(plain_name(name).encode("utf-8", "surrogateescape"), digest_size=8).digest()
