"""All rows of a data set: entries whose images exist and can be read, and the dropped rows with reasons."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from lavis.common.errors import DataError, MissingFile
from lavis.common.files import write_text
from lavis.common.names import Spellings
from lavis.images.inspect import inspect_images
from lavis.images.store import ImageStore, parent_folder
from lavis.images.tars import TarStore, tar_files
from lavis.tables.columns import OUTSIDE, Columns, Dropped, Pair, choose_columns, read_pair
from lavis.tables.packing import Packed, contains_images, pack
from lavis.tables.readers import Row, read_rows
from lavis.tables.sources import Source

log = logging.getLogger(__name__)
ABSENT = "the image does not exist"


@dataclass
class Table:
    """The usable pairs, their images, and what was dropped: `len(pairs) + len(dropped)` is the number of rows."""

    store: ImageStore
    pairs: list[Pair]
    dropped: list[Dropped]
    losses: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows that were read."""
        return len(self.pairs) + len(self.dropped)

    def summary(self) -> str:
        """How many of the rows were dropped, by reason."""
        reasons = Counter(row.reason.partition(":")[0] for row in self.dropped)
        listed = ", ".join(f"{count} because {reason}" for reason, count in reasons.most_common())
        return f"{len(self.dropped)} of {self.rows} rows were dropped: {listed}" if listed else "no row was dropped"

    def notices(self, path: Path) -> list[str]:
        """What a user should know at the end; `path` is the list of dropped rows."""
        dropped = [f"{self.summary()}; they are listed in {path}"] if self.dropped else []
        return dropped + self.losses


def read_table(
    sources: Sequence[Source], columns: Mapping[str, Any], images: str, folder: Path, *, links: bool = False
) -> Table:
    """Read all tables.

    Args:
        columns: role -> column, as the configuration names them. images: root of relative paths, or tar files; "": the
            folder of the tables.
        folder: where images that are inside tables are copied. links: permit links that lead out of the root.

    Raises DataError (malformed table, unknown column, tables with and without images mixed) and MissingFile.
    """
    roles = {source: _columns(source, columns) for source in sources}
    packed = {s: contains_images(s, roles[s].image) for s in sources}
    kinds = {"tar" if s.format == "tar" else "packed" if packed[s] else "files" for s in sources}
    if len(kinds) > 1:
        raise DataError(
            "datasets.pairs.source mixes tables with images inside and tables that name files; use one kind"
        )
    many = len(sources) > 1
    copies = {
        s: pack(s, roles[s].image, folder, f"{number}/" if many else "")
        for number, s in enumerate(sources)
        if packed[s]
    }
    store = _store(sources, list(copies.values()), images, folder, links)
    rows: list[Pair | Dropped] = []
    for source in sources:
        rows += [read_pair(row, roles[source]) for row in _rows(source, copies.get(source))]
    pairs = [_rooted(row, store) for row in rows if isinstance(row, Pair)]
    dropped = [row for row in rows if isinstance(row, Dropped)]
    return _inspected(store, pairs, dropped)


def _columns(source: Source, configured: Mapping[str, Any]) -> Columns:
    first = next(read_rows(source), None)
    if first is None:
        raise DataError(f"{source.path} has no rows")
    header = dict(first.cells)
    if source.format in ("folder", "tar"):  # rows have the columns that their files give them
        header = {"image": "", "caption": "", **header}
    return choose_columns(configured, header, source.path)


def _rows(source: Source, copy: Packed | None) -> Iterator[Row]:
    return read_rows(source) if copy is None else copy.read()


def _store(sources: Sequence[Source], copies: Sequence[Packed], images: str, folder: Path, links: bool) -> ImageStore:
    if copies:
        return TarStore([copy.tar for copy in copies], folder, folder=folder)
    if sources[0].format == "tar":
        files = [Path(source.path) for source in sources]
        return TarStore(files, files[0].parent, folder=folder)
    roots = {source.root for source in sources}
    if not images and len(roots) > 1:
        raise DataError(
            "datasets.pairs.source: the tables lie in several folders; name the images' in datasets.pairs.images"
        )
    root = images or next(iter(roots))
    shards = tar_files(root)
    if not shards and not Path(root).is_dir():
        raise MissingFile(f"datasets.pairs.images: folder {root} does not exist")
    return TarStore(shards, root, folder=folder) if shards else ImageStore(root, links=links)


def _rooted(pair: Pair, store: ImageStore) -> Pair | Dropped:
    """The pair with its image relative to the root; dropped if it lies outside."""
    path = PurePosixPath(pair.image)
    root = Path(store.root).absolute().as_posix()
    if path.is_absolute() and path.is_relative_to(root):
        pair = Pair(path.relative_to(root).as_posix(), pair.captions, pair.facts, pair.place)
    try:
        parent_folder(pair.image)
    except DataError:
        return Dropped(pair.place, pair.image, OUTSIDE, pair.facts)
    return pair


def _inspected(store: ImageStore, rows: Sequence[Pair | Dropped], dropped: list[Dropped]) -> Table:
    """The table without pairs whose image does not exist, or cannot be read."""
    pairs = [row for row in rows if isinstance(row, Pair)]
    dropped = dropped + [row for row in rows if isinstance(row, Dropped)]
    names = _existing(store, dict.fromkeys(pair.image for pair in pairs))
    inspection = inspect_images(store, list(dict.fromkeys(name for name in names.values() if name)))
    usable = []
    for pair in pairs:
        name = names[pair.image]
        reason = ABSENT if name is None else inspection.unreadable.get(name)
        if reason:
            dropped.append(Dropped(pair.place, pair.image, reason, pair.facts))
        else:
            assert name is not None
            usable.append(Pair(name, pair.captions, pair.facts, pair.place))
    return Table(store, usable, dropped, inspection.sentences())


def _existing(store: ImageStore, images: Mapping[str, None]) -> dict[str, str | None]:
    """{image: its name in the store}; None if it does not exist. Names in another case or accents' form are found."""
    absent = store.absent(images)
    names: dict[str, str | None] = dict.fromkeys(images) | {image: image for image in images}
    if not absent:
        return names
    known = Spellings(store.listing({str(PurePosixPath(image).parent) for image in absent}))
    respelled = {image: known.find(image) for image in absent}
    found = sum(name is not None for name in respelled.values())
    if found:
        log.warning("%d images are spelled otherwise in the table than on disk; they were found all the same", found)
    return names | respelled


def write_dropped(table: Table, path: Path) -> None:
    """List the dropped rows in a CSV file (place, image, reason); delete an older list if there are none."""
    if not table.dropped:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(("row", "image", "reason"))
    for row in table.dropped:
        lines.writerow((row.place, row.image.replace("\0", "\\0"), row.reason))  # Python 3.10 writes no null
    write_text(path, text.getvalue())
