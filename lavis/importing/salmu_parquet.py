"""The parquet shards of SALMU as published: where they lie, which are taken, what their rows say.

A shard is <split>-00000-of-00007.parquet (or <split>.parquet) with the columns image (bytes, or the struct
{bytes, path} in which the `datasets` library stores images), file_name, and mostly text and identity_id.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from lavis.common.errors import DataError, MissingFile

log = logging.getLogger(__name__)

SENSITIVE = ("forget", "holdout_identity", "holdout_association")
UNION = "sensitive"
SPLITS = {name: name for name in (*SENSITIVE, "retain_synth", "val", "test")} | {"validation": "val", UNION: UNION}
TEXT_COLUMNS = ("text", "caption", "captions")
SHARD = re.compile(r"(?P<split>\w+?)(?:-(?P<number>\d+)-of-(?P<total>\d+))?(?:-\w+)?\.parquet")
ROWS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Shard:
    """One parquet file; `number` of `total` where its name says so."""

    path: Path
    split: str
    number: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row without its image; `captions` is empty where the shard has none for it."""

    split: str
    file: str
    captions: tuple[str, ...]
    identity_id: str | int | None

    @property
    def image(self) -> str:
        """Path below the image root."""
        return f"{self.split}/{self.file}"


def find_shards(folders: Sequence[Path]) -> list[Shard]:
    """All shards of known splits, in the order of the folders, each folder's sorted by name.

    A folder's own *.parquet files count; where there are none, those of its subfolder data. Raises MissingFile (no
    folder, no shard, a shard of a numbered series missing) and DataError (two series of one split in a folder).
    """
    every = (shard for folder in folders for shard in _folder_shards(folder))
    found = list({shard.path.parent.resolve() / shard.path.name: shard for shard in every}.values())
    unknown = sorted({shard.split for shard in found} - set(SPLITS))
    if unknown:
        log.warning("shards of unknown splits are left aside: %s", ", ".join(unknown))
    known = [Shard(s.path, SPLITS[s.split], s.number, s.total) for s in found if s.split in SPLITS]
    if not known:
        where = ", ".join(f"{folder} and {folder / 'data'}" for folder in folders)
        splits = f"found only the splits {', '.join(unknown)}" if unknown else "no *.parquet there"
        raise MissingFile(
            f"no shards of SALMU in {where} ({splits}); expected forget-*.parquet, retain_synth-*.parquet, "
            "holdout_identity-*.parquet and holdout_association-*.parquet: data/README.md says where to get them"
        )
    return known


def _folder_shards(folder: Path) -> list[Shard]:
    if not folder.is_dir():
        raise MissingFile(f"--parquet {folder} is no folder; give the one that holds the shards, or its parent")
    paths = sorted(folder.glob("*.parquet")) or sorted((folder / "data").glob("*.parquet"))
    shards = []
    for path in paths:
        match = SHARD.fullmatch(path.name)
        if match is None:
            log.warning("%s is left aside: its name is not <split>-00000-of-00001.parquet", path)
            continue
        number, total = (int(match[key]) if match[key] else None for key in ("number", "total"))
        shards.append(Shard(path, match["split"], number, total))
    for split, group in itertools.groupby(sorted(shards, key=lambda s: s.split), key=lambda s: s.split):
        _check_series(split, list(group), folder)
    return shards


def _check_series(split: str, shards: list[Shard], folder: Path) -> None:
    """Every shard of 0 .. total-1 is there once."""
    totals = {shard.total for shard in shards}
    if len(totals) > 1 or len({shard.number for shard in shards}) < len(shards):
        names = ", ".join(shard.path.name for shard in shards[:3])
        raise DataError(f"{folder}: shards of different series of split {split} ({names} ...); keep one series")
    total = totals.pop()
    missing = sorted(set(range(total or 0)) - {shard.number for shard in shards})
    if missing:
        names = first([f"{split}-{number:05d}-of-{total:05d}.parquet" for number in missing])
        raise MissingFile(
            f"{folder}: {len(missing)} of {total} shards of {split} are missing, the first: {names}; download them"
        )


def choose(shards: Sequence[Shard]) -> tuple[dict[str, list[Shard]], list[Shard]]:
    """(shards to import by split, shards that only repeat their rows).

    The first folder with a split provides it. `sensitive`, the training repository's union of forget and holdouts,
    is never imported itself: only the evaluation repository says which rows are which. Raises MissingFile when
    forget or retain_synth are not there.
    """
    taken: dict[str, list[Shard]] = {}
    spare = []
    for shard in shards:
        group = taken.setdefault(shard.split, [shard]) if shard.split != UNION else []
        if not group or group[0].path.parent != shard.path.parent:
            spare.append(shard)
        elif group[0] is not shard:
            group.append(shard)
    splits = ", ".join(dict.fromkeys(shard.split for shard in shards))
    if "forget" not in taken and any(shard.split == UNION for shard in spare):
        raise MissingFile(
            f"only the splits {splits} were found: '{UNION}' mixes what is to be forgotten with the holdouts; give the "
            "shards of salmubench-512-redistributed too (a second --parquet), which tell them apart"
        )
    for split in ("forget", "retain_synth"):
        if split not in taken:
            raise MissingFile(f"no {split}-*.parquet among the shards (found: {splits}); --parquet may be repeated")
    for split in SENSITIVE[1:]:
        if split not in taken:
            log.warning("no shards of split %s: it will not be evaluated", split)
    return taken, spare


def read_rows(shard: Shard) -> list[Row]:
    """All rows without their images. Raises DataError (broken file, missing column, wrong type, unsafe file name)."""
    with _arrow(shard) as file:
        names = file.schema_arrow.names
        text = next((name for name in TEXT_COLUMNS if name in names), None)
        for column in ("image", "file_name"):
            if column not in names:
                raise DataError(f"{shard.path}: no column '{column}'; found: {', '.join(names)}")
        columns = [name for name in ("file_name", "identity_id", text) if name in names]
        table = file.read(columns=columns).to_pylist()
    rows = []
    for number, values in enumerate(table):
        where = f"{shard.path}: row {number}"
        name = checked_name(values["file_name"], where)
        captions = _captions(values.get(text), f"{where} ({name})")
        rows.append(Row(shard.split, name, captions, _identity(values.get("identity_id"))))
    return rows


def iter_images(shard: Shard) -> Iterator[bytes]:
    """The image files of a shard in row order, a few rows in memory at a time. Raises DataError."""
    number = itertools.count()
    with _arrow(shard) as file:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=["image"]):
            for cell in batch.column(0):
                yield _image_bytes(cell.as_py(), f"{shard.path}: row {next(number)}")


@contextlib.contextmanager
def _arrow(shard: Shard) -> Iterator[Any]:
    """The open parquet file; whatever the library raises while it is read becomes a DataError."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(shard.path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except DataError:
        raise
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        head = shard.path.read_bytes()[:24] if shard.path.stat().st_size < 1024 else b""
        kind = "is a git-lfs pointer" if head.startswith(b"version https://git-lfs") else "cannot be read as parquet"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{shard.path} {kind} ({reason}); download it again") from error


def checked_name(name: Any, where: str) -> str:
    """A file name that stays below its split's folder. Raises DataError for any other."""
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: file_name must be a string, found {name!r}")
    parts = name.split("/")
    foreign = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or foreign.drive or foreign.root or ".." in (*parts, *foreign.parts):
        raise DataError(f"{where}: file_name '{name}' would leave the image folder: refused")
    odd = "\\" in name or any(part in ("", ".") for part in parts) or len(name.encode()) > 240
    if odd or name != name.strip() or not name.isprintable():
        raise DataError(f"{where}: file_name {name!r} is no usable file name: refused")
    return name


def _captions(value: Any, where: str) -> tuple[str, ...]:
    values = () if value is None else tuple(value) if isinstance(value, list) else (value,)
    for caption in values:
        if not isinstance(caption, str):
            raise DataError(f"{where}: the caption must be a string or a list of strings, found {caption!r}")
        if not caption.strip():
            raise DataError(f"{where}: empty caption; mend the shard or remove the row")
    return values


def _identity(value: Any) -> str | int | None:
    """Identity ids as they are; whole numbers that a null in the column turned into floats become integers."""
    if isinstance(value, float):
        return None if math.isnan(value) else int(value)
    return value if value != "" else None


def _image_bytes(cell: Any, where: str) -> bytes:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes) or not data:
        kind = "empty" if data in (None, b"") else type(data).__name__
        raise DataError(f"{where}: the image holds no bytes ({kind}); expected the file's bytes or {{bytes, path}}")
    return data


def check_names(rows: Sequence[Row]) -> None:
    """No file name twice in a split, none in two sensitive splits. Raises DataError (how many, the first three)."""
    held = [row for row in rows if row.split in SENSITIVE]
    groups = [("sensitive splits", [row.file for row in held])]
    splits = dict.fromkeys(row.split for row in rows)
    groups += [(f"split {split}", [row.file for row in rows if row.split == split]) for split in splits]
    for what, names in reversed(groups):
        repeated = [name for name, times in Counter(names).items() if times > 1]
        if repeated:
            raise DataError(f"{what}: {len(repeated)} file names occur more than once, the first: {first(repeated)}")


def check_spare(spare: Iterable[Shard], rows: Sequence[Row]) -> None:
    """Shards that are not imported must only repeat rows that are. Raises DataError (how many, the first three)."""
    names: dict[str, set[str]] = {UNION: {row.file for row in rows if row.split in SENSITIVE}}
    for row in rows:
        names.setdefault(row.split, set()).add(row.file)
    for shard in spare:
        extra = [row.file for row in read_rows(shard) if row.file not in names[shard.split]]
        if extra:
            splits = ", ".join(SENSITIVE) if shard.split == UNION else shard.split
            raise DataError(
                f"{shard.path}: {len(extra)} rows are not among those of {splits}, the first: {first(extra)}; the "
                "folders given by --parquet must belong together and be complete"
            )


def first(names: Sequence[str]) -> str:
    """The first three, for messages."""
    return ", ".join(names[:3])
