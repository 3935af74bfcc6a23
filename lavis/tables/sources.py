"""What a `source` names: one file or folder, several, or a pattern; and of which format each is."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lavis.common.errors import DataError, MissingFile, suggest
from lavis.common.files import check_file, is_folder
from lavis.images.tars import RANGE, expanded

HUB = "hf-dataset:"
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".tar": "tar",
}
SAVED = ("dataset_dict.json", "state.json")  # what `datasets` writes into a folder that it saves


@dataclass(frozen=True)
class Source:
    """One table: its path (a name after `hf-dataset:` for one of the hub) and format.

    Formats: csv, tsv, json, jsonl, parquet, tar, folder (images with .txt files), datasets (saved by `datasets`), hub.
    """

    path: str
    format: str

    @property
    def carries_images(self) -> bool:
        """Whether the rows may contain the images' bytes and not only paths."""
        return self.format in ("parquet", "datasets", "hub")

    @property
    def root(self) -> Path:
        """The folder that relative image paths start from unless another is named."""
        return Path(self.path) if self.format == "folder" else Path(self.path).parent


def find_sources(names: Sequence[str], key: str = "source") -> list[Source]:
    """The tables that these paths and patterns stand for, in order; a pattern's files are sorted by name.

    Raises MissingFile (a file that does not exist, a pattern that matches nothing) and DataError (an unknown format, a
    file named twice); `key` names the setting in messages.
    """
    sources = [source for name in names for source in _found(name, key)]
    if not sources:
        raise DataError(f"{key} is empty; name a table (.csv, .parquet, ...), a tar file, a folder or hf-dataset:NAME")
    repeated = [source.path for source, times in Counter(sources).items() if times > 1]
    if repeated:
        raise DataError(f"{key} names {min(repeated)} more than once; its rows would count twice")
    return sources


def _found(name: str, key: str) -> list[Source]:
    if name.startswith(HUB):
        target = name.removeprefix(HUB)
        return [Source(target, "datasets" if is_folder(target) else "hub")]
    if RANGE.search(name):
        return [_source(path, key) for path in expanded(name)]
    if not os.path.exists(name) and any(sign in name for sign in "*?["):
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise MissingFile(f"{key}: no file matches {name}")
        return [_source(Path(match), key) for match in matches]
    return [_source(Path(name), key)]


def _source(path: Path, key: str) -> Source:
    if is_folder(path):
        saved = any((path / name).is_file() for name in SAVED)
        return Source(str(path), "datasets" if saved else "folder")
    check_file(path, f"{key}:")
    known = FORMATS.get(path.suffix.lower())
    if known is None:
        raise DataError(f"{key}: the format of {path} is unknown; {suggest(path.suffix, FORMATS)}, or a folder")
    return Source(str(path), known)
