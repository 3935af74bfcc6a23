"""Which files a size limit removes."""

from __future__ import annotations

import os

import pytest

from lavis.common.files import beyond_limit


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
