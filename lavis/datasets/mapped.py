"""Annotations in an Arrow file, for millions of rows: it is mapped, so all processes and workers share its pages.

    python -m lavis.datasets.mapped annotations/train.json annotations/train.arrow

writes one; in `build_info.annotations` it then stands in place of the JSON file. An entry is built when it is used, and
what is asked of all entries (names of images, captions) is read column by column, a piece at a time.
"""

from __future__ import annotations

import copy
import itertools
import json
import mmap
import operator
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lavis.common.bounded_json import parse_json
from lavis.common.cli import Parser, run_main, show
from lavis.common.errors import DataError
from lavis.common.files import check_file, replacing
from lavis.datasets.annotations import Entry, read_annotations
from lavis.images.pieces import PIECE, pieces

SUFFIX = ".arrow"
COLUMNS = ("image", "captions", "image_id", "extra")  # the last two as JSON, null where the entry has none


class MappedEntries(Sequence[Entry]):
    """Entries of Arrow files, or some of them. A slice is a MappedEntries too; pickling passes paths, not rows.

    Args:
        paths: the files, read one after the other.
        rows: numbers (n,) int64 of the rows to use; None: all.
    """

    def __init__(self, paths: Sequence[Path], rows: np.ndarray | None = None) -> None:
        self.paths, self._rows = list(paths), rows
        self._files = [_open(path) for path in self.paths]
        self._batches = [
            batch for path, file in zip(self.paths, self._files, strict=True) for batch in _read(path, file)
        ]
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedEntries, (self.paths, self._rows)

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._rows is None else len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.select(np.arange(*index.indices(len(self))))
        place = operator.index(index)
        place += len(self) if place < 0 else 0
        if not 0 <= place < len(self):
            raise IndexError(f"entry {index} of {len(self)}")
        row = place if self._rows is None else int(self._rows[place])
        batch = int(np.searchsorted(self._starts, row, side="right")) - 1
        return next(_entries(self._batches[batch].slice(row - int(self._starts[batch]), 1)))

    def __iter__(self) -> Iterator[Entry]:
        return (entry for part in self._parts() for entry in _entries(part))

    def select(self, rows: np.ndarray) -> MappedEntries:
        """The entries with these places among these entries; the file is not mapped once more."""
        selection = copy.copy(self)
        selection._rows = rows if self._rows is None else self._rows[rows]
        return selection

    def column(self, name: str) -> Iterator[Any]:
        """The values of one of COLUMNS."""
        return (value for part in self._parts([name]) for value in part.column(0).to_pylist())

    def caption_counts(self) -> np.ndarray:
        """How many captions each entry has, (n,) int64."""
        counts = [part.column(0).value_lengths().to_numpy() for part in self._parts(["captions"])]
        return np.concatenate(counts).astype(np.int64)

    def long_captions(self, size: int) -> Iterator[str]:
        """The captions of more than `size` bytes, in order."""
        import pyarrow
        from pyarrow import compute

        for part in self._parts(["captions"]):
            captions = part.column(0).flatten()
            long = compute.call_function("binary_length", [captions]).to_numpy() > size
            yield from captions.filter(pyarrow.array(long)).to_pylist() if long.any() else ()

    def image_numbers(self) -> np.ndarray:
        """The same number for entries of one image, (n,) int64, counted from 0 in order of first occurrence."""
        import pyarrow

        if any(part.column(0).null_count < part.num_rows for part in self._parts(["image_id"])):
            known: dict[str, int] = {}
            names = (entry.image if entry.image_id is None else str(entry.image_id) for entry in self)
            return np.fromiter((known.setdefault(name, len(known)) for name in names), np.int64, len(self))
        images = pyarrow.chunked_array([part.column(0) for part in self._parts(["image"])])
        return np.concatenate([part.indices.to_numpy() for part in images.dictionary_encode().chunks]).astype(np.int64)

    def _parts(self, names: Sequence[str] = COLUMNS) -> Iterator[Any]:
        """Record batches of the entries in order, with these columns."""
        import pyarrow

        numbers = (
            range(len(self._batches)) if self._rows is None else self._starts.searchsorted(self._rows, "right") - 1
        )
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for start, stop in itertools.pairwise(cuts):
            batch, first = self._batches[numbers[start]].select(names), self._starts[numbers[start]]
            yield batch if self._rows is None else batch.take(pyarrow.array(self._rows[start:stop] - first))
        for file in self._files:
            file.madvise(mmap.MADV_DONTNEED)  # the pages stay in the system's cache, and no longer count as ours
        pyarrow.default_memory_pool().release_unused()


class ImageNames(Collection[str]):
    """The images of some entries in order, the first of an entry before its second; `len` counts entries."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries

    def __iter__(self) -> Iterator[str]:
        if isinstance(self.entries, MappedEntries):
            return self.entries.column("image")
        return (image for entry in self.entries for image in entry.images)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        return any(image == name for image in self)


def images_of_rows(entries: Sequence[Entry]) -> Iterator[tuple[str, ...]]:
    """The one or two images of each entry."""
    if isinstance(entries, MappedEntries):
        return zip(entries.column("image"))  # noqa: B905 - tuples of one
    return (entry.images for entry in entries)


def long_captions(entries: Iterable[Entry], size: int) -> Iterator[str]:
    """The captions of more than `size` bytes, in order; repeats included."""
    if isinstance(entries, MappedEntries):
        return entries.long_captions(size)
    return (text for entry in entries for text in entry.captions if len(text.encode()) > size)


def picked(entries: Sequence[Entry], rows: np.ndarray) -> Sequence[Entry]:
    """The entries at these places (n,)."""
    return entries.select(rows) if isinstance(entries, MappedEntries) else [entries[i] for i in rows.tolist()]


def joined(parts: Sequence[Sequence[Entry]]) -> Sequence[Entry]:
    """All entries of several sequences; a copy of them only where there are several."""
    return parts[0] if len(parts) == 1 else [entry for part in parts for entry in part]


def write_mapped(path: Path, entries: Iterable[Entry]) -> int:
    """Write entries to an Arrow file atomically, some at a time; returns their number. Entries have one image."""
    import pyarrow

    schema = pyarrow.schema(
        [("image", pyarrow.string()), ("captions", pyarrow.list_(pyarrow.string()))]
        + [(name, pyarrow.string()) for name in COLUMNS[2:]]
    )
    count = 0
    with replacing(path) as temporary, pyarrow.OSFile(str(temporary), "wb") as sink:
        with pyarrow.ipc.new_file(sink, schema) as writer:
            for part in pieces(entries):
                writer.write_batch(pyarrow.record_batch(_columns(part), schema=schema))
                count += len(part)
    return count


def _columns(entries: Sequence[Entry]) -> list[list[Any]]:
    assert all(entry.second is None for entry in entries), "rows of two images are not stored in Arrow files"
    ids = [None if entry.image_id is None else json.dumps(entry.image_id) for entry in entries]
    extra = [json.dumps(entry.extra, ensure_ascii=False) if entry.extra else None for entry in entries]
    return [[entry.image for entry in entries], [list(entry.captions) for entry in entries], ids, extra]


def _open(path: Path) -> mmap.mmap:
    """The file, mapped. Raises MissingFile, DataError."""
    check_file(path, "annotation file")
    with path.open("rb") as stream:
        try:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be mapped ({error}); write it again") from error


def _read(path: Path, file: mmap.mmap) -> list[Any]:
    """The record batches of a file. Raises DataError if it is not one of `write_mapped`."""
    import pyarrow

    try:
        table = pyarrow.ipc.open_file(pyarrow.py_buffer(file)).read_all()
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} cannot be read as an Arrow file ({reason}); write it again") from error
    if tuple(table.schema.names) != COLUMNS:
        raise DataError(
            f"{path} has the columns {', '.join(table.schema.names)}, not {', '.join(COLUMNS)}; "
            "write it with python -m lavis.datasets.mapped"
        )
    return table.to_batches(max_chunksize=PIECE)


def _entries(part: Any) -> Iterator[Entry]:
    for image, captions, image_id, extra in zip(*(part.column(name).to_pylist() for name in COLUMNS), strict=True):
        number, facts = (None if text is None else parse_json(text, image) for text in (image_id, extra))
        yield Entry(image, tuple(captions), number, facts or {})


def main(argv: Sequence[str] | None = None) -> int:
    """Write JSON annotations (or tar shards of samples) as an Arrow file. Raises as `read_annotations`."""
    parser = Parser(prog="python -m lavis.datasets.mapped", description="Annotations as a memory-mapped Arrow file.")
    parser.add_argument("source", nargs="+", type=Path, help="JSON files or tar shards of image–caption pairs")
    parser.add_argument("target", type=Path, help="the .arrow file to write")
    args = parser.parse_args(argv)
    if args.target.suffix != SUFFIX:
        raise DataError(f"{args.target}: the file to write must end in {SUFFIX}")
    count = write_mapped(args.target, (entry for path in args.source for entry in read_annotations(path)))
    show(f"{args.target}: {count} entries\n")
    return 0


if __name__ == "__main__":
    run_main(main)
