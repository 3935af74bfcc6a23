"""SALMU's side files: where they are looked for, whether they fit the rows, and the annotations made of both."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lavis.common.errors import ConfigError, DataError
from lavis.common.files import encodable, read_json
from lavis.common.seed import derived_seed
from lavis.importing.salmu_parquet import SENSITIVE, Row, first

log = logging.getLogger(__name__)

IDENTITIES = "identities_metadata.json"
CAPTIONS = "sensitive_set_captions_metadata.json"
GENERIC = "sensitive_set_generic_captions.json"
FRAGILE = "fragile_set_ids.json"
KINDS = {IDENTITIES: dict, CAPTIONS: dict, GENERIC: dict, FRAGILE: list}
DEFAULT_HELD_OUT = 500


@dataclass(frozen=True)
class SideFiles:
    """Contents of the side files that exist, by name, and their paths."""

    paths: dict[str, Path] = field(default_factory=dict)
    contents: dict[str, Any] = field(default_factory=dict)

    def of(self, name: str) -> Any:
        """Content of a side file; an empty object or list where there is none."""
        return self.contents.get(name, KINDS[name]())


def places(folder: Path) -> list[Path]:
    """Where side files are looked for, in this order: DIR, DIR/metadata, DIR/.., DIR/../metadata."""
    return [folder, folder / "metadata", folder.absolute().parent, folder.absolute().parent / "metadata"]


def load_side_files(folders: Sequence[Path]) -> SideFiles:
    """The first file of each name. Raises DataError (malformed JSON, an object where a list belongs)."""
    found = SideFiles()
    for name, kind in KINDS.items():
        path = next((place / name for folder in folders for place in places(folder) if (place / name).is_file()), None)
        if path is None:
            log.warning("no %s: what it tells is left out of the annotations", name)
            continue
        content = read_json(path, "metadata file")
        if not isinstance(content, kind):
            raise DataError(f"{path}: expected a JSON {'object' if kind is dict else 'list'} at the top")
        found.paths[name], found.contents[name] = path, content
    return found


def check_side_files(rows: Sequence[Row], sides: SideFiles, allow_unmatched: bool) -> None:
    """Every sensitive row must be in the side files on sensitive rows that exist.

    Raises DataError (how many rows are not, the first three) unless that is allowed.
    """
    for name in (CAPTIONS, GENERIC):
        lost = [row.image for row in rows if row.split in SENSITIVE and row.file not in sides.of(name)]
        if not lost or name not in sides.paths:
            continue
        text = f"{sides.paths[name]} does not match the shards: {len(lost)} sensitive rows are not in it, "
        text += f"the first: {first(lost)}"
        if not allow_unmatched:
            advice = "give the side file of the same release, or --allow-unmatched to leave out what it tells of them"
            raise DataError(f"{text}; {advice}")
        log.warning("%s", text)
    known = {row.file for row in rows if row.split not in SENSITIVE}
    strange = [str(name) for name in sides.of(FRAGILE) if name not in known]
    if strange:
        log.warning("%d ids of %s are no retain rows, the first: %s", len(strange), FRAGILE, first(strange))


def annotate(rows: Sequence[Row], sides: SideFiles) -> dict[str, dict[str, Any]]:
    """Annotation entries by image path.

    The caption is the row's own; where it has none, that of sensitive_set_captions_metadata.json. Raises DataError
    for rows without either (how many, the first three).
    """
    entries = {row.image: _entry(row, sides) for row in rows}
    silent = [image for image, entry in entries.items() if not entry["caption"]]
    if silent:
        where = "does not name them" if CAPTIONS in sides.paths else "was not found"
        raise DataError(
            f"{len(silent)} rows have no caption, the first: {first(silent)}; expected a column text, caption or "
            f"captions in the shards or, for sensitive rows, an entry in {CAPTIONS}, which {where} (looked for in "
            "each --parquet folder and its parent, and their metadata/)"
        )
    own = {row.image: row.captions for row in rows if row.captions and row.split in SENSITIVE}
    notes = sides.of(CAPTIONS)
    other = [i for i, texts in own.items() if _told(notes.get(i.split("/", 1)[1]), "caption") not in (None, *texts)]
    if other:
        log.warning("%d captions of %s differ from the shards', which are kept: %s", len(other), CAPTIONS, first(other))
    return entries


def _entry(row: Row, sides: SideFiles) -> dict[str, Any]:
    note = sides.of(CAPTIONS).get(row.file) if row.split in SENSITIVE else None
    captions = list(row.captions)
    if not captions and (told := _told(note, "caption")):
        captions = [_text(told, sides.paths[CAPTIONS], row.file)]
    identity = row.identity_id if row.identity_id is not None else _told(note, "identity_id")
    attribute = _told(note, "data_field")
    value = _told(note, "value")
    if value is None and attribute is not None:
        value = _told(sides.of(IDENTITIES).get(str(identity)), str(attribute))
    generic = sides.of(GENERIC).get(row.file) if row.split in SENSITIVE else None
    if generic is not None:
        text = generic.get("caption") if isinstance(generic, dict) else generic
        generic = _text(text, sides.paths[GENERIC], row.file)
    extra = {"identity_id": identity, "field": attribute, "value": value, "generic_caption": generic}
    return {"image": row.image, "caption": captions} | {key: told for key, told in extra.items() if told is not None}


def _told(note: Any, key: str) -> Any:
    return note.get(key) if isinstance(note, Mapping) else None


def _text(value: Any, source: Path, key: str) -> str:
    """A caption of a side file. Raises DataError when it is empty or no text."""
    if not isinstance(value, str) or not value.strip() or not encodable(value):
        raise DataError(f"{source}: the caption of '{key}' must be a text that is not empty, found {value!r}")
    return value


def held_out(rows: Sequence[Row], sizes: Mapping[str, int | None], seed: int) -> dict[str, list[str]]:
    """Images of retain_synth that form val and test where the source has no such splits.

    Args:
        rows: all rows, in any order: the draw depends on the names only.
        sizes: images per split; None for the default, DEFAULT_HELD_OUT or a tenth of retain_synth if that is less.
        seed: of the draw.

    Returns {split: images}, disjoint, in order of name. Raises ConfigError when nothing would be left to train on.
    """
    present = {row.split for row in rows}
    pool = sorted(row.image for row in rows if row.split == "retain_synth")
    order = np.random.default_rng(derived_seed(seed, "salmu held out")).permutation(len(pool))
    drawn: dict[str, list[str]] = {}
    start = 0
    for split in ("test", "val"):
        if split in present:
            continue
        wanted = sizes.get(split)
        size = min(DEFAULT_HELD_OUT, max(1, len(pool) // 10)) if wanted is None else wanted
        drawn[split] = sorted(pool[i] for i in order[start : start + size])
        start += size
    if start >= len(pool) or any(size is not None and size < 0 for size in sizes.values()):
        raise ConfigError(
            f"--test-size and --val-size must not be negative and must leave some of the {len(pool)} pictures of "
            f"retain_synth to train on; found {sizes.get('test')} and {sizes.get('val')}"
        )
    return drawn
