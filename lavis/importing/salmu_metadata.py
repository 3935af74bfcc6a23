"""SALMU's metadata files: finding them, checking them against the rows, and building annotations from both."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lavis.common.errors import ConfigError, DataError, first_few
from lavis.common.files import encodable, read_json
from lavis.common.seed import derived_seed
from lavis.importing.salmu_parquet import SENSITIVE, Row

log = logging.getLogger(__name__)

IDENTITIES = "identities_metadata.json"
CAPTIONS = "sensitive_set_captions_metadata.json"
GENERIC = "sensitive_set_generic_captions.json"
FRAGILE = "fragile_set_ids.json"
KINDS = {IDENTITIES: dict, CAPTIONS: dict, GENERIC: dict, FRAGILE: list}
DEFAULT_HELD_OUT = 500


@dataclass(frozen=True)
class Metadata:
    """Paths and contents of the metadata files that exist, by name."""

    paths: dict[str, Path] = field(default_factory=dict)
    contents: dict[str, Any] = field(default_factory=dict)

    def of(self, name: str) -> Any:
        """Content of a metadata file; an empty dict or list if it is missing."""
        return self.contents.get(name, KINDS[name]())


def places(folder: Path) -> list[Path]:
    """Where metadata files are searched for, in this order: DIR, DIR/metadata, DIR/.., DIR/../metadata."""
    return [folder, folder / "metadata", folder.absolute().parent, folder.absolute().parent / "metadata"]


def load_metadata(folders: Sequence[Path]) -> Metadata:
    """Load the first file of each name. Raises DataError for malformed JSON, or a list where an object is expected."""
    metadata = Metadata()
    for name, kind in KINDS.items():
        path = next((place / name for folder in folders for place in places(folder) if (place / name).is_file()), None)
        if path is None:
            log.warning("%s not found; the annotations will lack the fields that come from it", name)
            continue
        content = read_json(path, "metadata file")
        if not isinstance(content, kind):
            raise DataError(f"{path}: expected a JSON {'object' if kind is dict else 'list'} at the top")
        metadata.paths[name], metadata.contents[name] = path, content
    return metadata


def check_metadata(rows: Sequence[Row], metadata: Metadata, allow_unmatched: bool) -> None:
    """Check that the metadata files on sensitive rows, if there are any, contain all sensitive rows.

    Raises DataError with the number of missing rows and the first three, or logs that if `allow_unmatched` is set.
    """
    for name in (CAPTIONS, GENERIC):
        missing = [row.image for row in rows if row.split in SENSITIVE and row.file not in metadata.of(name)]
        if not missing or name not in metadata.paths:
            continue
        message = f"{metadata.paths[name]} does not match the shards: {len(missing)} sensitive rows are not in it, "
        message += f"the first: {first_few(missing)}"
        if not allow_unmatched:
            advice = "use the file of the same release, or --allow-unmatched to leave out its fields for these rows"
            raise DataError(f"{message}; {advice}")
        log.warning("%s", message)
    retained = {row.file for row in rows if row.split not in SENSITIVE}
    unknown = [str(name) for name in metadata.of(FRAGILE) if name not in retained]
    if unknown:
        log.warning("%d ids of %s are not retain rows, the first: %s", len(unknown), FRAGILE, first_few(unknown))


def annotate(rows: Sequence[Row], metadata: Metadata) -> dict[str, dict[str, Any]]:
    """Annotation entries by image path.

    The caption is the row's own or, if it has none, the one in sensitive_set_captions_metadata.json. Raises DataError
    for rows without either, with their number and the first three.
    """
    entries = {row.image: _entry(row, metadata) for row in rows}
    silent = [image for image, entry in entries.items() if not entry["caption"]]
    if silent:
        where = "does not contain them" if CAPTIONS in metadata.paths else "was not found"
        raise DataError(
            f"{len(silent)} rows have no caption, the first: {first_few(silent)}; expected a column text, caption or "
            f"captions in the shards or, for sensitive rows, an entry in {CAPTIONS}, which {where} (searched in "
            "each --parquet folder, its parent, and the metadata/ of both)"
        )
    notes = metadata.of(CAPTIONS)
    differing = [
        row.image
        for row in rows
        if row.captions and row.split in SENSITIVE
        if _get(notes.get(row.file), "caption") not in (None, *row.captions)
    ]
    if differing:
        message = "%d captions of %s differ from those in the shards, which are used; the first: %s"
        log.warning(message, len(differing), CAPTIONS, first_few(differing))
    return entries


def _entry(row: Row, metadata: Metadata) -> dict[str, Any]:
    note = metadata.of(CAPTIONS).get(row.file) if row.split in SENSITIVE else None
    captions = list(row.captions)
    if not captions and (caption := _get(note, "caption")):
        captions = [_text(caption, metadata.paths[CAPTIONS], row.file)]
    identity = row.identity_id if row.identity_id is not None else _get(note, "identity_id")
    attribute = _get(note, "data_field")
    value = _get(note, "value")
    if value is None and attribute is not None:
        value = _get(metadata.of(IDENTITIES).get(str(identity)), str(attribute))
    generic = metadata.of(GENERIC).get(row.file) if row.split in SENSITIVE else None
    if generic is not None:
        text = generic.get("caption") if isinstance(generic, dict) else generic
        generic = _text(text, metadata.paths[GENERIC], row.file)
    extra = {"identity_id": identity, "field": attribute, "value": value, "generic_caption": generic}
    return {"image": row.image, "caption": captions} | {key: value for key, value in extra.items() if value is not None}


def _get(note: Any, key: str) -> Any:
    return note.get(key) if isinstance(note, Mapping) else None


def _text(value: Any, source: Path, key: str) -> str:
    """Check a caption of a metadata file. Raises DataError if it is empty or not text."""
    if not isinstance(value, str) or not value.strip() or not encodable(value):
        raise DataError(f"{source}: the caption of '{key}' must be non-empty text, found {value!r}")
    return value


def read_identities(metadata: Path, hint: str = "") -> dict[str, dict[str, Any]]:
    """Facts by identity_id, from identities_metadata.json. Raises MissingFile; DataError unless each has a name."""
    people = read_json(metadata / IDENTITIES, "metadata file", hint)
    if not isinstance(people, dict) or not all(isinstance(facts, dict) for facts in people.values()):
        raise DataError(f"{metadata / IDENTITIES}: expected {{identity_id: {{name, ...}}}}")
    nameless = [key for key, facts in people.items() if not str(facts.get("name") or "").strip()]
    if nameless:
        count = len(nameless)
        raise DataError(f"{metadata / IDENTITIES}: {count} identities lack a 'name', the first: {first_few(nameless)}")
    return people


def read_fragile(metadata: Path) -> list[str]:
    """File names in fragile_set_ids.json. Raises MissingFile, and DataError unless it is a list of names."""
    names = read_json(metadata / FRAGILE, "metadata file")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{metadata / FRAGILE}: expected a list of file names")
    return names


def draw_held_out(rows: Sequence[Row], sizes: Mapping[str, int | None], seed: int) -> dict[str, list[str]]:
    """Draw images of retain_synth for val and test, unless the source has these splits.

    Args:
        rows: all rows, in any order: the draw depends only on the names.
        sizes: images per split. None: DEFAULT_HELD_OUT, or a tenth of retain_synth if that is less.
        seed: seed of the draw.

    Returns {split: images}, disjoint and sorted. Raises ConfigError if a size is negative or nothing would be left to
    train on.
    """
    present = {row.split for row in rows}
    pool = sorted(row.image for row in rows if row.split == "retain_synth")
    order = np.random.default_rng(derived_seed(seed, "salmu held out")).permutation(len(pool))
    drawn: dict[str, list[str]] = {}
    start = 0
    for split in ("test", "val"):
        if split in present:
            continue
        size = sizes.get(split)
        if size is None:
            size = min(DEFAULT_HELD_OUT, max(1, len(pool) // 10))
        drawn[split] = sorted(pool[i] for i in order[start : start + size])
        start += size
    if start >= len(pool) or any(size is not None and size < 0 for size in sizes.values()):
        raise ConfigError(
            f"--test-size and --val-size must not be negative and must leave some of the {len(pool)} images of "
            f"retain_synth to train on; found {sizes.get('test')} and {sizes.get('val')}"
        )
    return drawn
