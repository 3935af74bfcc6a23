"""The secret of an output folder: made once, private, and what hashes are keyed by."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest

from lavis.common.errors import DataError
from lavis.common.secrets import FILE, keyed_hash, secret_of


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "output"
    secret = secret_of(folder)
    assert len(secret) == 32 and secret_of(folder) == secret != secret_of(tmp_path / "other")
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_processes_that_start_together_get_the_same_one(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        assert len(set(pool.map(secret_of, [tmp_path] * 64, chunksize=1))) == 1


def test_a_damaged_one_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"short")
    with pytest.raises(DataError, match="has 5 bytes, not 32; delete it"):
        secret_of(tmp_path)


def test_without_a_place_for_it_the_process_has_its_own(tmp_path: Path, caplog) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "output"
    assert secret_of(folder) == secret_of(folder)
    assert "this run's caches serve no later run" in caplog.text


def test_a_hash_depends_on_the_secret() -> None:
    assert keyed_hash(b"a", "text") != keyed_hash(b"b", "text") != keyed_hash(b"b", "text ")
    assert len(keyed_hash(b"a", "text", 8)) == 8
