"""Every reader × every way in which a file can be wrong: one message with path, reason and next step, no traceback.

A cell may also be good: Windows line ends and a byte order mark must give the same content as without them.
"""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

import pytest

from lavis.common.errors import UserFault
from lavis.common.files import LARGEST
from tests.hostile import HOSTILE
from tests.readers import READERS, Reader, read_forget_table, read_table


def _missing(path: Path, reader: Reader) -> None:
    pass


def _folder(path: Path, reader: Reader) -> None:
    path.mkdir()


def _pipe(path: Path, reader: Reader) -> None:
    os.mkfifo(path)


def _dangling(path: Path, reader: Reader) -> None:
    path.symlink_to(path.parent / "nowhere")


def _loop(path: Path, reader: Reader) -> None:
    path.symlink_to(path)


def _empty(path: Path, reader: Reader) -> None:
    path.write_bytes(b"")


def _truncated(path: Path, reader: Reader) -> None:
    whole = reader.good.rstrip(b"\0")  # a tar ends with zeros
    path.write_bytes(whole[: len(whole) * 2 // 3 - 5])


def _noise(path: Path, reader: Reader) -> None:
    path.write_bytes(bytes(range(255, 0, -1)) * 4)


WRONG = {
    "missing": _missing,
    "a folder": _folder,
    "a pipe": _pipe,
    "a dangling link": _dangling,
    "a link loop": _loop,
    "empty": _empty,
    "truncated": _truncated,
    "noise": _noise,
}
REASONS = {
    "missing": "does not exist",
    "a folder": "is a folder",
    "a pipe": "is a pipe",
    "a dangling link": "is a link to .*nowhere, which does not exist",
    "a link loop": "symbolic links",
}
TEXT = [name for name, reader in READERS.items() if reader.text]
JSON = [name for name, reader in READERS.items() if reader.json]
BOUNDED = [name for name in TEXT if name not in ("csv", "tsv", "jsonl", "forget table", "log")]  # these are read by row
TABLES = [name for name, reader in READERS.items() if reader.read in (read_table, read_forget_table)]
MAY_BE_EMPTY = ("jsonl", "log", "caption")
MAY_BE_WHOLE = (
    "forget list",
    "configuration",
    "sweep",
    "csv",
    "tsv",
    "forget table",
    "caption",
)  # no end marks these formats


def refused(reader: Reader, path: Path) -> str:
    """The one message with which the reader ends."""
    with pytest.raises(UserFault) as caught:
        reader.read(path)
    message = str(caught.value)
    assert (path.name in message or str(path)[:100] in message) and "Traceback" not in message
    assert message.count(str(path)) <= 1, f"says it twice: {message}"
    assert re.search(r"; \w|: \w", message), f"no reason or next step: {message}"
    return message


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_or_has_no_sense(name: str, how: str, tmp_path: Path) -> None:
    reader, path = READERS[name], READERS[name].place(tmp_path)
    if how == "a folder" and name in TABLES:
        pytest.skip("a folder of images is a table")
    if how == "truncated" and name in MAY_BE_WHOLE:
        pytest.skip("a part of such a file is a file")
    if how == "empty" and name in MAY_BE_EMPTY:
        pytest.skip("no rows, which is refused where they are needed")
    if how == "missing" and reader.optional:
        pytest.skip("not every run has it")
    WRONG[how](path, reader)
    message = refused(reader, path)
    assert re.search(REASONS.get(how, ""), message), message


@pytest.mark.parametrize("place", ["below a file", "too long"])
@pytest.mark.parametrize("name", READERS)
def test_paths_that_cannot_exist(name: str, place: str, tmp_path: Path) -> None:
    reader = READERS[name]
    if reader.optional:
        pytest.skip("not every run has it")
    (tmp_path / "file").write_bytes(b"x")
    folder = tmp_path / ("file" if place == "below a file" else "x" * 300)
    reason = "is a file, not a folder" if place == "below a file" else "name too long"
    assert re.search(reason, refused(reader, folder / reader.name))


@pytest.mark.parametrize("name", TEXT)
def test_text_of_another_encoding(name: str, tmp_path: Path) -> None:
    reader, path = READERS[name], READERS[name].place(tmp_path)
    path.write_bytes(reader.good.decode().replace("a", "\u00e4").encode("utf-16"))
    assert "not UTF-8" in refused(reader, path)


@pytest.mark.parametrize("name", BOUNDED)
def test_files_that_are_too_large(name: str, tmp_path: Path) -> None:
    reader, path = READERS[name], READERS[name].place(tmp_path)
    path.touch()
    os.truncate(path, LARGEST + 1)  # takes no room on the disk
    assert "bytes" in refused(reader, path)


@pytest.mark.parametrize("form", ["Windows line ends", "a byte order mark"])
@pytest.mark.parametrize("name", TEXT)
def test_text_as_windows_writes_it_is_the_same_text(name: str, form: str, tmp_path: Path) -> None:
    reader, path = READERS[name], READERS[name].place(tmp_path)
    path.write_bytes(reader.good)
    plain = reader.read(path)
    changed = reader.good.replace(b"\n", b"\r\n") if form == "Windows line ends" else codecs.BOM_UTF8 + reader.good
    path.write_bytes(changed)
    assert reader.read(path) == plain


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", JSON)
def test_hostile_json(name: str, kind: str, tmp_path: Path) -> None:
    reader, path = READERS[name], READERS[name].place(tmp_path)
    path.write_text(HOSTILE[kind])
    if kind == "nothing" and name in MAY_BE_EMPTY:
        pytest.skip("no rows, which is refused where they are needed")
    assert len(refused(reader, path)) < 500


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("name", READERS)
def test_files_that_may_not_be_read(name: str, tmp_path: Path) -> None:
    reader, path = READERS[name], READERS[name].place(tmp_path)
    path.write_bytes(reader.good)
    path.chmod(0)
    assert "may not be read" in refused(reader, path)


@pytest.mark.parametrize("name", READERS)
def test_a_read_only_file_in_a_read_only_folder_is_read(name: str, tmp_path: Path) -> None:
    reader, path = READERS[name], READERS[name].place(tmp_path / "folder")
    path.write_bytes(reader.good)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        reader.read(path)
        assert path.read_bytes() == reader.good and list(path.parent.iterdir()) == [path], "reading writes nothing"
    finally:
        path.parent.chmod(0o755)
