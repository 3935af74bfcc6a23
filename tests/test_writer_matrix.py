"""Every writer with every way in which its path can be wrong: the file is whole, or one message says why it is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lavis.common.checkpoint import save_checkpoint, save_tensors
from lavis.common.cli import DISK_ERRORS, message_of
from lavis.common.errors import UserFault
from lavis.common.files import write_json, write_text
from lavis.common.forget_list import write_forget_list
from lavis.common.locks import lock
from lavis.common.logger import RunLog
from lavis.common.results import FILE_NAME, write_results
from lavis.report.page import Report, write_report
from lavis.runners.run_dir import folder_lock
from lavis.tables.table import Dropped, Table, write_dropped
from tests.readers import RESULTS
from tests.report.rows import row

Writer = Callable[[Path], object]


def _logged(path: Path) -> None:
    RunLog(path.parent).write({"epoch": 0})


def _locked(path: Path) -> None:
    with lock(path):
        path.parent.exists()


def _locked_folder(path: Path) -> None:
    with folder_lock(path.parent):
        path.parent.exists()


def _dropped(path: Path) -> None:
    write_dropped(Table(None, [], [Dropped("row 1", "a.jpg", "why", {})]), path)


WRITERS: dict[str, tuple[str, Writer]] = {
    "text": ("a.txt", lambda path: write_text(path, "whole")),
    "JSON": ("a.json", lambda path: write_json(path, {"a": 1})),
    "results": (FILE_NAME, lambda path: write_results(path, RESULTS)),
    "forget list": ("image-42.txt", lambda path: write_forget_list(path, ["a.jpg"])),
    "checkpoint": ("checkpoint_0.pth", lambda path: save_checkpoint(path, {"model": {}})),
    "tensors": ("a.safetensors", lambda path: save_tensors(path, {"a": torch.ones(3)}, {})),
    "dropped rows": ("dropped_rows.csv", _dropped),
    "report": ("index.html", lambda path: write_report(Report([row("vlul")]), path.parent)),
    "log": ("log.txt", _logged),
    "lock": ("x.lock", _locked),
    "lock of a run folder": (".lock", _locked_folder),
}


def _folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def _link_to_nowhere(path: Path) -> Path:
    path.symlink_to(path.parent / "nowhere")
    return path


def _loop(path: Path) -> Path:
    path.symlink_to(path.name)
    return path


def _below_a_file(path: Path) -> Path:
    (path.parent / "file").write_text("x")
    return path.parent / "file" / "folder" / path.name


def _below_a_link_to_nowhere(path: Path) -> Path:
    (path.parent / "link").symlink_to(path.parent / "nowhere")
    return path.parent / "link" / path.name


def _too_long(path: Path) -> Path:
    return path.parent / ("x" * 300) / path.name


IN_THE_WAY = {
    "a folder": _folder,
    "a link to nowhere": _link_to_nowhere,
    "a link loop": _loop,
    "below a file": _below_a_file,
    "below a link to nowhere": _below_a_link_to_nowhere,
    "too long": _too_long,
}


def whole_or_one_message(write: Writer, path: Path) -> str:
    """The message with which a writer ends; empty if it wrote the file. No half-written file stays."""
    try:
        write(path)
        message = ""
    except Exception as error:
        message = message_of(error) or ""
        assert message and "Traceback" not in message, f"{type(error).__name__}: {error} would be a traceback"
        assert isinstance(error, UserFault) or error.errno in DISK_ERRORS
    assert not [file for file in path.parent.glob(".*.tmp")] if os.path.isdir(path.parent) else True
    return message


@pytest.mark.parametrize("way", IN_THE_WAY)
@pytest.mark.parametrize("name", WRITERS)
def test_what_lies_in_the_way(name: str, way: str, tmp_path: Path) -> None:
    file, write = WRITERS[name]
    path = IN_THE_WAY[way](tmp_path / file)
    message = whole_or_one_message(write, path)
    if message:
        assert str(tmp_path) in message and "; " in message, message
        assert "free some space" not in message.lower(), message
    elif name not in ("lock", "lock of a run folder"):
        assert path.is_file() and path.stat().st_size


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_may_not_be_written(name: str, tmp_path: Path) -> None:
    file, write = WRITERS[name]
    tmp_path.chmod(0o555)
    try:
        message = whole_or_one_message(write, tmp_path / file)
        assert str(tmp_path) in message and "; " in message
    finally:
        tmp_path.chmod(0o755)
