"""File locks, also where the file system has none."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from lavis.common.locks import Locked, lock, locked


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, caplog, code):
    """Some network and FUSE file systems; nobody else is said to be writing."""

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock(tmp_path / "lock"):
        assert "cannot be locked" in caplog.text and not locked(tmp_path / "lock")


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / "lock"
    assert not locked(path)
    with lock(path), pytest.raises(Locked), lock(path):
        raise AssertionError("both hold it")
    assert not locked(path)


def test_a_program_that_inherits_the_file_holds_the_lock(tmp_path):
    path = tmp_path / "lock"
    with lock(path) as stream:
        words = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        heir = subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=[stream.fileno()])
    assert locked(path)
    heir.communicate()
    assert not locked(path)
