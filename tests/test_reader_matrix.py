"""Every reader × every way in which a file can be wrong: one message with path, reason and next step, no traceback.

A cell may also be good: Windows line ends and a byte order mark must give the same content as without them.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
from safetensors.torch import save

from lavis.common.checkpoint import load_checkpoint, load_file, weights_of
from lavis.common.errors import UserFault
from lavis.common.files import LARGEST
from lavis.common.forget_list import read_forget_list
from lavis.common.results import read_results
from lavis.datasets.annotations import read_annotations
from lavis.datasets.condition import Forget
from lavis.datasets.metadata import read_fragile, read_identities
from lavis.hub.open_clip_form import from_json
from lavis.hub.places import listed_in
from lavis.images.tars import members
from lavis.importing.salmu_metadata import FRAGILE, IDENTITIES
from lavis.settings.config import load_config
from lavis.sweeps.schema import load_sweep
from lavis.tables.readers import read_rows
from lavis.tables.sources import find_sources
from tests.hostile import HOSTILE
from tests.small import ARCH

ROWS = [{"image": f"{i}.jpg", "caption": f"image number {i}"} for i in range(3)]


@dataclass(frozen=True)
class Reader:
    """A reader, the name of its file, a good content, and what of it is text or JSON."""

    read: Callable[[Path], Any]
    name: str
    good: bytes
    text: bool = True
    json: bool = False


def _table(path: Path) -> list[dict[str, Any]]:
    return [row.cells for source in find_sources([str(path)], "datasets.pairs.source") for row in read_rows(source)]


def _forget_table(path: Path) -> list[str]:
    return Forget({}, "", str(path), "")._from_table()


def _torch(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in (("a.jpg", b"x" * 700), ("a.json", b'{"caption": "an image"}')):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def _parquet() -> bytes:
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), stream)
    return stream.getvalue()


def _dumped(content: Any) -> bytes:
    return json.dumps(content, indent=1).encode()


WEIGHTS = {"a": torch.ones(300)}
RESULTS = {
    **{"schema": 1, "name": "vlul", "method": None, "backbone": "clip", "task": "t", "df_size": 1, "df_seed": 1},
    **{"seed": 1, "metrics": {}, "counts": {}, "checkpoint": None, "commit": None, "command": [], "seconds": {}},
    **{"config": {}, "finished": True},
}
CONFIG = Path("configs/clip/retrieval_salmu_tiny.yaml").read_bytes()
SWEEP = Path("configs/sweep/salmu_mini.yaml").read_bytes()
READERS = {
    "configuration": Reader(load_config, "c.yaml", CONFIG),
    "sweep": Reader(load_sweep, "s.yaml", SWEEP),
    "annotations": Reader(read_annotations, "train.json", _dumped(ROWS), json=True),
    "annotations in a tar": Reader(read_annotations, "train.tar", _tar(), text=False),
    "forget list": Reader(read_forget_list, "image-42.txt", b"a.jpg\nb.jpg\n"),
    "identities": Reader(lambda p: read_identities(p.parent), IDENTITIES, _dumped({"7": {"name": "A"}}), json=True),
    "fragile set": Reader(lambda path: read_fragile(path.parent), FRAGILE, _dumped(["a.jpg"]), json=True),
    "csv": Reader(_table, "t.csv", b"image,caption\na.jpg,one\nb.jpg,two\n"),
    "tsv": Reader(_table, "t.tsv", b"image\tcaption\na.jpg\tone\n"),
    "json table": Reader(_table, "t.json", _dumped(ROWS), json=True),
    "jsonl": Reader(_table, "t.jsonl", b"\n".join(json.dumps(row).encode() for row in ROWS), json=True),
    "parquet": Reader(_table, "t.parquet", _parquet(), text=False),
    "tar table": Reader(_table, "t.tar", _tar(), text=False),
    "shard": Reader(lambda path: [member.name for member in members(path)], "x.tar", _tar(), text=False),
    "forget table": Reader(_forget_table, "people.csv", b"image,caption\na.jpg,one\n"),
    "checkpoint": Reader(load_checkpoint, "c.pth", _torch({"model": WEIGHTS, "position": {}}), text=False),
    "weights": Reader(lambda p: weights_of(load_file(p), p), "w.bin", _torch(WEIGHTS), text=False),
    "safetensors": Reader(load_file, "w.safetensors", save(WEIGHTS), text=False),
    "index of weights": Reader(listed_in, "i.json", _dumped({"weight_map": {"a": "b.bin"}}), json=True),
    "results": Reader(read_results, "results.json", _dumped(RESULTS), json=True),
    "architecture": Reader(from_json, "arch.json", _dumped(ARCH), json=True),
}


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
BOUNDED = [name for name in TEXT if name not in ("csv", "tsv", "jsonl", "forget table")]  # these are read by row
MAY_BE_WHOLE = ("forget list", "configuration", "sweep", "csv", "tsv", "forget table")  # no end marks these formats


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
    reader, path = READERS[name], tmp_path / READERS[name].name
    if how == "a folder" and reader.read in (_table, _forget_table):
        pytest.skip("a folder of images is a table")
    if how == "truncated" and name in MAY_BE_WHOLE:
        pytest.skip("a part of such a file is a file")
    if how == "empty" and name == "jsonl":
        pytest.skip("a list without rows, which is refused where it is used")
    WRONG[how](path, reader)
    message = refused(reader, path)
    assert re.search(REASONS.get(how, ""), message), message


@pytest.mark.parametrize("place", ["below a file", "too long"])
@pytest.mark.parametrize("name", READERS)
def test_paths_that_cannot_exist(name: str, place: str, tmp_path: Path) -> None:
    reader = READERS[name]
    (tmp_path / "file").write_bytes(b"x")
    folder = tmp_path / ("file" if place == "below a file" else "x" * 300)
    reason = "is a file, not a folder" if place == "below a file" else "name too long"
    assert re.search(reason, refused(reader, folder / reader.name))


@pytest.mark.parametrize("name", TEXT)
def test_text_of_another_encoding(name: str, tmp_path: Path) -> None:
    reader, path = READERS[name], tmp_path / READERS[name].name
    path.write_bytes(reader.good.decode().replace("a", "\u00e4").encode("utf-16"))
    assert "not UTF-8" in refused(reader, path)


@pytest.mark.parametrize("name", BOUNDED)
def test_files_that_are_too_large(name: str, tmp_path: Path) -> None:
    reader, path = READERS[name], tmp_path / READERS[name].name
    path.touch()
    os.truncate(path, LARGEST + 1)  # takes no room on the disk
    assert "bytes" in refused(reader, path)


@pytest.mark.parametrize("form", ["Windows line ends", "a byte order mark"])
@pytest.mark.parametrize("name", TEXT)
def test_text_as_windows_writes_it_is_the_same_text(name: str, form: str, tmp_path: Path) -> None:
    reader, path = READERS[name], tmp_path / READERS[name].name
    path.write_bytes(reader.good)
    plain = reader.read(path)
    changed = reader.good.replace(b"\n", b"\r\n") if form == "Windows line ends" else codecs.BOM_UTF8 + reader.good
    path.write_bytes(changed)
    assert reader.read(path) == plain


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("name", JSON)
def test_hostile_json(name: str, kind: str, tmp_path: Path) -> None:
    reader, path = READERS[name], tmp_path / READERS[name].name
    path.write_text(HOSTILE[kind])
    if kind == "nothing" and name == "jsonl":
        pytest.skip("a list without rows, which is refused where it is used")
    assert len(refused(reader, path)) < 500


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
@pytest.mark.parametrize("name", READERS)
def test_files_that_may_not_be_read(name: str, tmp_path: Path) -> None:
    reader, path = READERS[name], tmp_path / READERS[name].name
    path.write_bytes(reader.good)
    path.chmod(0)
    assert "may not be read" in refused(reader, path)


@pytest.mark.parametrize("name", READERS)
def test_a_read_only_file_in_a_read_only_folder_is_read(name: str, tmp_path: Path) -> None:
    reader, path = READERS[name], tmp_path / "folder" / READERS[name].name
    path.parent.mkdir()
    path.write_bytes(reader.good)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        reader.read(path)
        assert path.read_bytes() == reader.good and list(path.parent.iterdir()) == [path], "reading writes nothing"
    finally:
        path.parent.chmod(0o755)
