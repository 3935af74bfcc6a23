"""From a row's cells to an entry: which column is which, and why a row cannot be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lavis.common.errors import DataError, suggest
from lavis.common.files import odd_character
from lavis.tables.readers import Row

log = logging.getLogger(__name__)

IMAGE, CAPTION, PERSON, NAME, SPLIT, IMAGE_ID = "image", "caption", "person", "name", "split", "image_id"
USUAL = {  # what tables usually call their columns; taken where the configuration names none
    IMAGE: ("image", "path", "image_path", "file_name", "filename", "filepath", "file", "img", "photo", "picture"),
    CAPTION: ("caption", "captions", "text", "txt", "sentence", "description", "alt_text"),
    PERSON: ("person",),
    NAME: ("name",),
    SPLIT: ("split",),
    IMAGE_ID: ("image_id",),
}
FACTS = (PERSON, NAME, SPLIT, IMAGE_ID)
NO_IMAGE, NO_CAPTION, NOT_TEXT = "no image", "no caption", "the caption is not text"
ODD_CAPTION, ODD_IMAGE = "the caption has a character that is not text", "no file can have the image's name"
OUTSIDE = "the image path leads out of the image folder"
KINDS = {dict: "a mapping", list: "a list", bytes: "bytes", int: "a number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Columns:
    """The table's name of each column; several for captions, "" for a column that the table does not have."""

    image: str
    captions: tuple[str, ...]
    person: str = ""
    name: str = ""
    split: str = ""
    image_id: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A usable row. `image` is as the table writes it; `facts` are its other cells and person, split and image_id."""

    image: str
    captions: tuple[str, ...]
    facts: dict[str, Any]
    place: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that cannot be used, and why."""

    place: str
    image: str
    reason: str
    facts: dict[str, Any]


def choose_columns(configured: Mapping[str, Any], header: Mapping[str, Any], where: str) -> Columns:
    """The columns of a table: those that the configuration names, or its usual names; logs what it chose itself.

    Raises DataError for a column that is not there, with the closest, and if no column looks like image or caption.
    """
    for role in configured:
        if role not in USUAL:
            raise DataError(f"datasets.pairs.columns: there is no role '{role}'; {suggest(role, USUAL)}")
    chosen: dict[str, Any] = {}
    for role, usual in USUAL.items():
        given = configured.get(role)
        names = [given] if isinstance(given, str) else list(given or [])
        for name in names:
            if name not in header:
                raise DataError(f"{where}: no column '{name}' (columns.{role}); {suggest(name, header)}")
        guessed = [name for name in usual if name in header][:1]
        if not names and not guessed and role in (IMAGE, CAPTION):
            raise DataError(
                f"{where}: which column is the {role}? set datasets.pairs.columns.{role}; {suggest(role, header)}"
            )
        if not names and guessed and guessed != [role]:
            log.info("%s: column '%s' is taken as the %s", where, guessed[0], role)
        chosen[role] = names or guessed
    single = {role: (chosen[role] or [""])[0] for role in (IMAGE, *FACTS)}
    return Columns(captions=tuple(chosen[CAPTION]), **single)


def read_pair(row: Row, columns: Columns) -> Pair | Dropped:
    """The pair of a row, or why there is none. Raises DataError for a person, name, split or id that is no value."""
    used = {columns.image, *columns.captions}
    facts = {name: value for name, value in row.cells.items() if name not in used and not isinstance(value, bytes)}
    for role in FACTS:
        name = getattr(columns, role)
        if name and row.cells.get(name) not in (None, ""):
            facts[role] = _fact(row.cells[name], name, role, row.place)
    image = _image(row.cells.get(columns.image))
    captions, reason = _captions([row.cells.get(name) for name in columns.captions])
    odd = odd_character(image, null=True)
    if not image or odd or reason:
        why = f"{ODD_IMAGE}: {odd}" if odd else reason
        return Dropped(row.place, image, why if image else NO_IMAGE, facts)
    return Pair(image, captions, facts, row.place)


def _fact(value: Any, column: str, role: str, place: str) -> Any:
    """The value of a column with a role. Raises DataError."""
    if not isinstance(value, str | int | float):
        advice = f"write one {role} per row, or name another column in datasets.pairs.columns.{role}"
        raise DataError(f"{place}: column '{column}' ({role}) must be text or a number, found {_kind(value)}; {advice}")
    odd = odd_character(value, null=True) if isinstance(value, str) else ""
    if odd:
        raise DataError(f"{place}: column '{column}' ({role}) is not text: {odd}; rewrite it")
    return value


def _kind(value: Any) -> str:
    return KINDS.get(type(value), f"a value of type {type(value).__name__}")


def _image(cell: Any) -> str:
    """The path in a cell, with forward slashes and without "./"; "" if there is none."""
    if not isinstance(cell, str) or not cell.strip():
        return ""
    return PurePosixPath(cell.strip().replace("\\", "/")).as_posix()


def _captions(cells: list[Any]) -> tuple[tuple[str, ...], str]:
    """The captions of some cells, each a text or a list of them; or no captions, and why."""
    texts = [text for cell in cells for text in (cell if isinstance(cell, list) else [cell])]
    texts = [text for text in texts if text is not None and text != ""]
    for text in texts:
        if not isinstance(text, str):
            return (), f"{NOT_TEXT}: it is {_kind(text)}"
        if odd := odd_character(text):
            return (), f"{ODD_CAPTION}: {odd}"
    captions = tuple(text for text in texts if text.strip())
    return captions, "" if captions else NO_CAPTION
