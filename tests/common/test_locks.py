"""File locks, also where the file system has none."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lavis.common.locks import Locked, lock, locked
from tests.elsewhere import fake_msvcrt


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


def test_without_fcntl_windows_own_locks_serve(tmp_path, monkeypatch):
    """A second process waits, or learns that it would have to; closing the file unlocks it."""
    monkeypatch.setitem(sys.modules, "msvcrt", fake_msvcrt())
    monkeypatch.setitem(sys.modules, "fcntl", None)
    path, entered = tmp_path / "lock", threading.Event()

    def later() -> None:
        with lock(path, wait=True):
            entered.set()

    with lock(path):
        assert locked(path)
        with pytest.raises(Locked), lock(path):
            raise AssertionError("both hold it")
        thread = threading.Thread(target=later)
        thread.start()
        assert not entered.wait(0.3)
    thread.join(10)
    assert entered.is_set() and not locked(path)


def test_a_lock_file_that_cannot_be_opened_is_not_said_to_be_held(tmp_path, monkeypatch):
    """Another user's, say: a sweep would wait for ever."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", refuse)
    assert not locked(tmp_path / "lock")
