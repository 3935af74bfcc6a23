"""A file of other content stays under another name; the same content does not pile up."""

from __future__ import annotations

from pathlib import Path

from lavis.common.files import write_json
from lavis.common.keeping import keep_unlike


def test_only_other_content_is_kept_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.json"
    for content in ({"a": 1.5}, {"a": 1.5}, {"a": float("nan")}, {"a": 1.5}, {"a": float("nan")}):
        keep_unlike(path, content)
        write_json(path, content)
    kept = sorted(file.read_text() for file in tmp_path.glob("benchmarks.*.json"))
    assert kept == ['{\n "a": 1.5\n}\n', '{\n "a": null\n}\n'] and path.read_text() == kept[1]


def test_what_cannot_be_read_is_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_text("{")
    keep_unlike(path, {})
    assert [file.read_text() for file in tmp_path.glob("audit.*.json")] == ["{"] and not path.exists()
