"""Which files a size limit removes, and which are left of killed processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from lavis.common.files import beyond_limit, replacing, write_bytes


@pytest.mark.parametrize(
    ("limit", "names"), [(30, []), (29, ["old"]), (20, ["old"]), (5, ["old", "folder"]), (-1, ["old", "folder", "new"])]
)
def test_the_least_recently_used_beyond_a_limit(tmp_path, limit, names):
    (tmp_path / "folder").mkdir()
    for age, name, size in ((3, "old", 10), (2, "folder/a", 7), (2, "folder/b", 8), (1, "new", 5)):
        (tmp_path / name).write_bytes(bytes(size))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    os.utime(tmp_path / "folder", (998, 998))
    paths = [tmp_path / name for name in ("folder", "missing", "new", "old")]
    assert [path.name for path in beyond_limit(paths, limit)] == names


@pytest.mark.parametrize(
    ("owner", "age", "stays"),
    [
        ("{host}.{alive}", 10**6, True),
        ("{host}.{dead}", 0, False),
        ("elsewhere.{alive}", 0, True),
        ("elsewhere.{alive}", 10**6, False),
        ("strange", 10**6, False),
        ("{host}.99999999999999999999999", 0, False),
    ],
)
def test_what_killed_processes_left_is_swept_up(tmp_path, owner, age, stays):
    """By the next process that writes anything into the folder; never what a living process is writing."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    name = owner.format(host=socket.gethostname(), alive=os.getpid(), dead=ended.pid)
    left = tmp_path / f".weights.pth.{name}.tmp"
    left.write_bytes(b"half")
    os.utime(left, (time.time() - age, time.time() - age))
    write_bytes(tmp_path / "other.txt", b"")
    assert left.exists() is stays


def test_threads_that_write_one_file_do_not_share_a_temporary_name(tmp_path):
    """All wait inside the block until each is there, so that with one name one would rename another's file."""
    path, together, failed = tmp_path / "world.yaml", threading.Barrier(4, timeout=60), []

    def write(content: bytes) -> None:
        try:
            with replacing(path) as temporary:
                temporary.write_bytes(content)
                together.wait()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(b"%d" % number * 1000,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and os.listdir(tmp_path) == ["world.yaml"]
    assert path.read_bytes() in {b"%d" % number * 1000 for number in range(4)}
