"""JSON that is valid, or nearly, and that no program can use: nesting, numbers, files that are no files."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

from lavis.common.bounded_json import DEEPEST, parse_json
from lavis.common.errors import DataError, MissingFile
from lavis.common.files import json_lines, read_json
from tests.hostile import HOSTILE

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_nobody_can_use_is_one_message(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(DataError, match=f"{re.escape(str(path))} .*; (fix or rewrite|check)") as caught:
        read_json(path, "file")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("content", ["[1, -2, 0.5, null, true]", '{"a": [{"b": "c"}]}', str(2**63), f"[{-(2**63)}]"])
def test_ordinary_json_is_read_as_python_reads_it(content: str) -> None:
    assert parse_json(content, "text") == ast.literal_eval(content.replace("null", "None").replace("true", "True"))


def test_the_deepest_that_is_read() -> None:
    content, depth = parse_json("[" * DEEPEST + "]" * DEEPEST, "text"), 1
    while content:
        (content,), depth = content, depth + 1
    assert depth == DEEPEST
    with pytest.raises(DataError):
        parse_json("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "text")


def test_lines_that_cannot_be_read_are_named_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("\ufeff[1]\r\n\n" + "[" * 100_000 + "\n[2]\n" + '{"a"', encoding="utf-8")
    bad: list[str] = []
    assert [content for _, content in json_lines(path, "log", bad)] == [[1], [2]]
    assert ["line 3" in bad[0], "line 5" in bad[1], len(bad)] == [True, True, 2]
    with pytest.raises(DataError, match="line 3 cannot be used"):
        list(json_lines(path, "log"))


def test_folders_loops_pipes_and_files_that_are_too_large(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(100))
    for name, reason in (
        ("", "is a folder"),
        ("loop", "symbolic links"),
        ("pipe", "is a pipe"),
        ("large", "at most 9"),
    ):
        with pytest.raises(DataError, match=reason):
            read_json(tmp_path / name, "file", largest=99)
    with pytest.raises(MissingFile, match="does not exist"):
        read_json(tmp_path / "none", "file")


def test_no_other_module_parses_json() -> None:
    parsers = [
        path.relative_to(ROOT).as_posix()
        for path in [*(ROOT / "lavis").rglob("*.py"), *ROOT.glob("*.py"), *(ROOT / "bash").glob("*.py")]
        if re.search(r"\bjson\.loads?\(|import loads?\b", path.read_text("utf-8"))
    ]
    assert parsers == ["lavis/common/bounded_json.py"]
