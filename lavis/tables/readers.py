"""Reads the rows of a table in any format, one after the other, with their places for messages.

Cells are what the format has: text in CSV, numbers and lists too in JSON and parquet. No cell is guessed at: pandas
would rename repeated columns, take "NA" for a missing caption and "007" for a number, so CSV goes through Python's csv.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lavis.common.errors import ConfigError, DataError, MissingFile, one_line
from lavis.common.files import check_file, json_lines, not_utf8, read_json, read_text
from lavis.images.samples import MOST_TEXT, samples
from lavis.images.tars import ENDINGS
from lavis.tables.sources import Source

ROWS_AT_ONCE = 256
LONGEST_CELL = 2**24  # characters
FILES = ("csv", "tsv", "json", "jsonl", "parquet", "tar")  # formats whose source is one file


@dataclass(frozen=True, slots=True)
class Row:
    """A row: {column: cell}, and where it is ("people.csv: row 12", counted from 1 without the header)."""

    cells: dict[str, Any] = field(hash=False)
    place: str


def read_rows(source: Source) -> Iterator[Row]:
    """The rows of a table. Raises DataError for a malformed one, with its place; nothing is skipped."""
    if source.format in FILES:
        check_file(source.path, "table")
    yield from READERS[source.format](Path(source.path))


def _delimited(path: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_CELL)
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, delimiter=_delimiter(path, delimiter), strict=True)
            header = _header(next(lines, []), path)
            for cells in lines:
                if not cells:
                    continue
                number += 1
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}: row {number} (line {lines.line_num}) has {len(cells)} cells where the header has "
                        f"{len(header)} columns; put cells that contain the separator in double quotes"
                    )
                yield Row(dict(zip(header, cells, strict=True)), f"{path.name}: row {number}")
    except csv.Error as error:
        raise DataError(f"{path}: row {number + 1} is not valid: {error}") from error
    except UnicodeDecodeError as error:
        raise not_utf8(path, error) from error


def _delimiter(path: Path, default: str) -> str:
    """A semicolon for a .csv whose header has semicolons and no comma, as spreadsheets write it in half of Europe."""
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readline()
    return ";" if default == "," and "," not in header and ";" in header else default


def _header(names: list[str], path: Path) -> list[str]:
    names = [name.strip() for name in names]
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if not names:
        raise DataError(f"{path} is empty; expected a header with the names of the columns")
    if repeated:
        raise DataError(f"{path}: the header names column '{repeated[0]}' more than once; rename one of them")
    return names


def _json(path: Path) -> Iterator[Row]:
    items = read_json(path, "table")
    if not isinstance(items, list):
        raise DataError(f"{path}: expected a list of objects, one per pair, found {type(items).__name__}")
    for number, item in enumerate(items, start=1):
        yield _object(item, path, number)


def _object(item: Any, path: Path, number: int) -> Row:
    if not isinstance(item, dict):
        raise DataError(f"{path}: row {number} is not an object with an image and a caption, but {item!r:.60}")
    return Row(item, f"{path.name}: row {number}")


def _json_lines(path: Path) -> Iterator[Row]:
    for number, (_, item) in enumerate(json_lines(path, "table"), start=1):
        yield _object(item, path, number)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for cells in batch.to_pylist():
                    number += 1
                    yield Row(cells, f"{path.name}: row {number}")
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path} is not a readable parquet file: {one_line(error)}; write or download it again"
        ) from error


def _folder(path: Path) -> Iterator[Row]:
    """Every image, with the text of the .txt file next to it; a .txt file without an image is a row of its own.

    The column `folder` is the name of the folder that the file lies in.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file())
    images = {file.with_suffix("") for file in files if file.suffix.lower() in ENDINGS}
    for file in files:
        text, relative = file.with_suffix(".txt"), file.relative_to(path)
        cells: dict[str, Any] = {"folder": relative.parent.name}
        if file.suffix.lower() in ENDINGS:
            cells |= {"image": relative.as_posix()} | ({"caption": caption_of(text)} if os.path.lexists(text) else {})
        elif file == text and file.with_suffix("") not in images:
            cells["caption"] = caption_of(file)
        else:
            continue
        yield Row(cells, relative.as_posix())


def caption_of(path: Path) -> str:
    """The text of a .txt file. Raises MissingFile, DataError."""
    return read_text(path, "caption", "remove the link, or write the caption again", largest=MOST_TEXT).strip()


def _tar(path: Path) -> Iterator[Row]:
    for cells, place in samples(path):
        yield Row(cells, place)


def _datasets(path: Path) -> Iterator[Row]:
    library = _library()
    try:
        loaded = library.load_from_disk(str(path))
    except Exception as error:
        raise DataError(f"{path} was not saved by `datasets`, or is damaged: {str(error).splitlines()[0]}") from error
    yield from _loaded(loaded, str(path))


def _hub(path: Path) -> Iterator[Row]:
    library, name = _library(), path.as_posix()
    try:
        loaded = library.load_dataset(name)
    except Exception as error:
        raise MissingFile(f"hf-dataset:{name} could not be loaded: {str(error).splitlines()[0]}") from error
    yield from _loaded(loaded, name)


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ConfigError("this source is read by the `datasets` package: pip install datasets") from error
    return datasets


def _loaded(loaded: Any, name: str) -> Iterator[Row]:
    """Rows of a Dataset, or of each split of a DatasetDict with the split's name in the column `split`."""
    library = _library()
    splits = loaded if isinstance(loaded, dict) else {"": loaded}
    for split, rows in splits.items():
        for column, feature in rows.features.items():
            if isinstance(feature, library.Image):
                rows = rows.cast_column(column, library.Image(decode=False))
        for number, cells in enumerate(rows, start=1):
            place = f"{name}: {split} row {number}" if split else f"{name}: row {number}"
            yield Row({"split": split, **cells} if split else dict(cells), place)


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "csv": lambda path: _delimited(path, ","),
    "tsv": lambda path: _delimited(path, "\t"),
    "json": _json,
    "jsonl": _json_lines,
    "parquet": _parquet,
    "folder": _folder,
    "tar": _tar,
    "datasets": _datasets,
    "hub": _hub,
}
