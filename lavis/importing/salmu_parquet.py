"""The published parquet shards of SALMU: finding them, selecting which to import, reading their rows.

A shard is <split>-00000-of-00007.parquet (or <split>.parquet) with the columns image (bytes, or the struct
{bytes, path} in which the `datasets` library stores images) and file_name, and usually text and identity_id.
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

from lavis.common.errors import DataError, MissingFile, first_few

log = logging.getLogger(__name__)

SENSITIVE = ("forget", "holdout_identity", "holdout_association")
UNION = "sensitive"
SPLITS = {name: name for name in (*SENSITIVE, "retain_synth", "val", "test")} | {"validation": "val", UNION: UNION}
TEXT_COLUMNS = ("text", "caption", "captions")
SHARD = re.compile(r"(?P<split>\w+?)(?:-(?P<number>\d+)-of-(?P<total>\d+))?(?:-\w+)?\.parquet")
ROWS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Shard:
    """One parquet file; `number` and `total` are from its name, None for <split>.parquet."""

    path: Path
    split: str
    number: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row without its image bytes; `captions` is empty if the shard has none."""

    split: str
    file: str
    captions: tuple[str, ...]
    identity_id: str | int | None

    @property
    def image(self) -> str:
        """Path relative to the image root."""
        return f"{self.split}/{self.file}"


def find_shards(folders: Sequence[Path]) -> list[Shard]:
    """All shards of known splits, folder by folder, sorted by name within each.

    Takes the *.parquet files of a folder or, if it has none, of its subfolder data. Raises MissingFile (no folder, no
    shard, an incomplete series) and DataError (two series of one split in a folder).
    """
    shards = (shard for folder in folders for shard in _folder_shards(folder))
    distinct = list({shard.path.parent.resolve() / shard.path.name: shard for shard in shards}.values())
    unknown = sorted({shard.split for shard in distinct} - set(SPLITS))
    if unknown:
        log.warning("ignoring shards of unknown splits: %s", ", ".join(unknown))
    known = [Shard(s.path, SPLITS[s.split], s.number, s.total) for s in distinct if s.split in SPLITS]
    if not known:
        where = ", ".join(f"{folder} and {folder / 'data'}" for folder in folders)
        splits = f"found only the splits {', '.join(unknown)}" if unknown else "no *.parquet there"
        raise MissingFile(
            f"no shards of SALMU in {where} ({splits}); expected forget-*.parquet, retain_synth-*.parquet, "
            "holdout_identity-*.parquet and holdout_association-*.parquet; data/README.md says where to get them"
        )
    return known


def _folder_shards(folder: Path) -> list[Shard]:
    if not folder.is_dir():
        raise MissingFile(f"--parquet {folder} is not a folder; name the folder of the shards, or its parent")
    paths = sorted(folder.glob("*.parquet")) or sorted((folder / "data").glob("*.parquet"))
    shards = []
    for path in paths:
        match = SHARD.fullmatch(path.name)
        if match is None:
            log.warning("ignoring %s: its name is not <split>-00000-of-00001.parquet", path)
            continue
        number, total = (int(match[key]) if match[key] else None for key in ("number", "total"))
        shards.append(Shard(path, match["split"], number, total))
    for split, group in itertools.groupby(sorted(shards, key=lambda s: s.split), key=lambda s: s.split):
        _check_series(split, list(group), folder)
    return shards


def _check_series(split: str, shards: list[Shard], folder: Path) -> None:
    """Check that each shard number from 0 to total-1 occurs exactly once."""
    totals = {shard.total for shard in shards}
    if len(totals) > 1 or len({shard.number for shard in shards}) < len(shards):
        names = first_few([shard.path.name for shard in shards])
        raise DataError(f"{folder}: split {split} has shards of different series ({names} ...); keep only one series")
    total = totals.pop()
    missing = sorted(set(range(total or 0)) - {shard.number for shard in shards})
    if missing:
        names = first_few([f"{split}-{number:05d}-of-{total:05d}.parquet" for number in missing])
        raise MissingFile(
            f"{folder}: {len(missing)} of {total} shards of {split} are missing, the first: {names}; download them"
        )


def select_shards(shards: Sequence[Shard]) -> tuple[dict[str, list[Shard]], list[Shard]]:
    """(shards to import by split, shards that only duplicate their rows).

    Each split comes from the first folder that has it. `sensitive`, the training repository's union of forget and
    holdouts, is never imported: only the evaluation repository separates them. Raises MissingFile if forget or
    retain_synth is missing.
    """
    selected: dict[str, list[Shard]] = {}
    duplicates = []
    for shard in shards:
        group = selected.setdefault(shard.split, [shard]) if shard.split != UNION else []
        if not group or group[0].path.parent != shard.path.parent:
            duplicates.append(shard)
        elif group[0] is not shard:
            group.append(shard)
    splits = ", ".join(dict.fromkeys(shard.split for shard in shards))
    if "forget" not in selected and any(shard.split == UNION for shard in duplicates):
        raise MissingFile(
            f"found only the splits {splits}; '{UNION}' does not separate the forget split from the holdouts: add the "
            "shards of salmubench-512-redistributed, which do, as a second --parquet"
        )
    for split in ("forget", "retain_synth"):
        if split not in selected:
            raise MissingFile(f"no {split}-*.parquet among the shards (found: {splits}); --parquet may be repeated")
    for split in SENSITIVE[1:]:
        if split not in selected:
            log.warning("no shards of split %s: it will not be evaluated", split)
    return selected, duplicates


def read_rows(shard: Shard) -> list[Row]:
    """All rows without their images. Raises DataError (damaged file, missing column, wrong type, unsafe file name)."""
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
    """Image files of a shard as bytes, in row order, with a few rows in memory at a time. Raises DataError."""
    number = itertools.count()
    with _arrow(shard) as file:
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=["image"]):
            for cell in batch.column(0).to_pylist():
                yield _image_bytes(cell, shard, next(number))


@contextlib.contextmanager
def _arrow(shard: Shard) -> Iterator[Any]:
    """Open a parquet file. Errors of the library while it is read become DataError."""
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
    """Return the file name if it stays inside its split's folder. Raises DataError otherwise."""
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: file_name must be a string, found {name!r}")
    parts = name.split("/")
    foreign = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or foreign.drive or foreign.root or ".." in (*parts, *foreign.parts):
        raise DataError(f"{where}: file_name '{name}' would leave the image folder; use a relative path without '..'")
    odd = "\\" in name or any(part in ("", ".") for part in parts) or len(name.encode()) > 240
    if odd or name != name.strip() or not name.isprintable():
        raise DataError(f"{where}: file_name {name!r} is not usable as a file name; rename it in the shard")
    return name


def _captions(value: Any, where: str) -> tuple[str, ...]:
    values = () if value is None else tuple(value) if isinstance(value, list) else (value,)
    for caption in values:
        if not isinstance(caption, str):
            raise DataError(f"{where}: the caption must be a string or a list of strings, found {caption!r}")
        if not caption.strip():
            raise DataError(f"{where}: empty caption; fix the shard or remove the row")
    return values


def _identity(value: Any) -> str | int | None:
    """The identity id. Floats become integers: an integer column with nulls may have been stored as floats."""
    if isinstance(value, float):
        return None if math.isnan(value) else int(value)
    return value if value != "" else None


def _image_bytes(cell: Any, shard: Shard, number: int) -> bytes:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(data, bytes) or not data:
        kind = "empty" if data in (None, b"") else type(data).__name__
        where = f"{shard.path}: row {number}"
        raise DataError(f"{where}: the image contains no bytes ({kind}); expected the file's bytes or {{bytes, path}}")
    return data


def check_names(rows: Sequence[Row]) -> None:
    """Check that no file name occurs twice in a split or in two sensitive splits.

    Raises DataError with the number of repeated names and the first three.
    """
    groups = [("sensitive splits", [row.file for row in rows if row.split in SENSITIVE])]
    splits = dict.fromkeys(row.split for row in rows)
    groups += [(f"split {split}", [row.file for row in rows if row.split == split]) for split in splits]
    for what, names in reversed(groups):
        repeated = [name for name, times in Counter(names).items() if times > 1]
        if repeated:
            count = len(repeated)
            raise DataError(f"{what}: {count} file names occur more than once, the first: {first_few(repeated)}")


def check_duplicates(duplicates: Iterable[Shard], rows: Sequence[Row]) -> None:
    """Check that shards which are not imported contain only rows that are.

    Raises DataError with the number of other rows and the first three.
    """
    names: dict[str, set[str]] = {UNION: {row.file for row in rows if row.split in SENSITIVE}}
    for row in rows:
        names.setdefault(row.split, set()).add(row.file)
    for shard in duplicates:
        extra = [row.file for row in read_rows(shard) if row.file not in names[shard.split]]
        if extra:
            splits = ", ".join(SENSITIVE) if shard.split == UNION else shard.split
            raise DataError(
                f"{shard.path}: {len(extra)} rows are not among those of {splits}, the first: {first_few(extra)}; the "
                "folders of --parquet must be complete and of the same release"
            )
