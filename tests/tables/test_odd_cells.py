"""Cells that are no text, no name of a file, no person: each is named with its row and its character."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from lavis.common.errors import DataError
from lavis.tables.sources import find_sources
from lavis.tables.table import Table, read_table, write_dropped
from tests.tables.people import COLUMNS, people_rows, photo, write_photos

HALF, NULL = "character 3 is U+D83D, half of a character", "character 3 is U+0000, the null character"
NAME, TEXT = "no file can have the image's name", "the caption has a character that is not text"
DROPPED: dict[str, tuple[dict[str, Any], str]] = {
    "a null character in a name": ({"path": "p0\0.jpg"}, f"{NAME}: {NULL}"),
    "a lone surrogate in a name": ({"path": "p0\ud83d.jpg"}, f"{NAME}: {HALF}"),
    "a lone surrogate in a caption": ({"text": "hi\ud83d there"}, f"{TEXT}: {HALF}"),
    "a lone surrogate in one of several": ({"text": ["fine", "hi\ud83d"]}, f"{TEXT}: {HALF}"),
    "a number for a caption": ({"text": 7}, "the caption is not text: it is a number"),
    "a mapping for a caption": ({"text": {"en": "hi"}}, "the caption is not text: it is a mapping"),
    "a path that leads out": ({"path": "../a.jpg"}, "the image path leads out of the image folder"),
}
REFUSED: dict[str, tuple[Any, str]] = {
    "a mapping": ({"id": 1}, "must be text or a number, found a mapping; write one"),
    "a list": (["p0", "p1"], "must be text or a number, found a list; write one"),
    "an empty list": ([], "must be text or a number, found a list"),
    "a lone surrogate": ("hi\ud83d", f"is not text: {HALF}"),
    "a null character": ("hi\0", f"is not text: {NULL}"),
}


def read(folder: Path, changes: dict[str, Any], columns: dict[str, str] = COLUMNS) -> Table:
    """A table of ten rows, of which the fourth has these cells."""
    rows = [{**row, "which": "a"} for row in people_rows(10)]
    write_photos(folder / "photos", rows)
    rows[3].update(changes)
    (folder / "people.json").write_text(json.dumps(rows))
    return read_table(find_sources([str(folder / "people.json")]), columns, str(folder / "photos"), folder)


@pytest.mark.parametrize("kind", DROPPED)
def test_a_row_is_dropped_with_the_character_that_is_wrong(kind: str, tmp_path: Path) -> None:
    changes, reason = DROPPED[kind]
    table = read(tmp_path, changes)
    assert [(row.place, row.reason) for row in table.dropped] == [("people.json: row 4", reason)]
    assert table.summary() == f"1 of 10 rows were dropped: 1 because {reason.partition(':')[0]}"
    write_dropped(table, tmp_path / "dropped.csv")
    with (tmp_path / "dropped.csv").open(newline="") as stream:
        assert [line[2] for line in csv.reader(stream)] == ["reason", reason]


@pytest.mark.parametrize("role", ["person", "name", "split", "image_id"])
@pytest.mark.parametrize("kind", REFUSED)
def test_a_person_is_text_or_a_number(kind: str, role: str, tmp_path: Path) -> None:
    value, message = REFUSED[kind]
    with pytest.raises(DataError) as caught:
        read(tmp_path, {"which": value}, {"image": "path", "caption": "text"} | {role: "which"})
    assert str(caught.value).startswith(f"people.json: row 4: column 'which' ({role}) {message}")


def test_an_image_of_another_encoding_is_dropped(tmp_path: Path) -> None:
    for name in (b"a.jpg", b"q\xff.jpg"):
        (tmp_path / os.fsdecode(name)).write_bytes(photo(1))
    (tmp_path / os.fsdecode(b"q\xff.txt")).write_text("a caption")
    (tmp_path / "a.txt").write_text("a caption")
    table = read_table(find_sources([str(tmp_path)]), {}, "", tmp_path / "packed")
    assert [pair.image for pair in table.pairs] == ["a.jpg"]
    assert [row.reason for row in table.dropped] == [
        f"{NAME}: character 2 is U+DCFF, the byte 0xFF of another encoding"
    ]
