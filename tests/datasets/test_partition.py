"""Forget lists: reading, matching, writing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.common.forget_list import read_forget_list, write_forget_list
from lavis.datasets.annotations import Entry
from lavis.datasets.partition import split_forget


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "image-42.txt"
    path.write_text("b.jpg\r\na.jpg\n\nc.jpg")
    return path


def entries(names):
    return [Entry(name, (f"of {name}",)) for name in names]


def test_the_first_lines_are_taken(listed):
    assert read_forget_list(listed) == ["b.jpg", "a.jpg", "c.jpg"]
    assert read_forget_list(listed, 2) == ["b.jpg", "a.jpg"]


def test_missing_list_says_what_to_run(tmp_path):
    with pytest.raises(MissingFile, match=r"forget list .*image-7\.txt does not exist; run the import"):
        read_forget_list(tmp_path / "image-7.txt", 1, "run the import")


def test_df_size_beyond_the_list(listed):
    with pytest.raises(ConfigError, match=r"run.df_size is 4 but the forget list .*image-42\.txt has 3 images"):
        read_forget_list(listed, 4)
    with pytest.raises(ConfigError, match="run.df_size must be at least 1, found 0"):
        read_forget_list(listed, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\na\n", "names 1 images more than once, the first in rows 1, 3"),
        (b" \n", "is empty; write one image path per line"),
        (b"\xff\n", "is not UTF-8 text"),
    ],
)
def test_unusable_lists(tmp_path, content, message):
    path = tmp_path / "image-42.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_forget_list(path, 1)


def test_a_folder_is_not_a_list(tmp_path):
    with pytest.raises(DataError, match="is a folder; name a file instead"):
        read_forget_list(tmp_path)


def test_unmatched_ids_are_counted_and_three_are_named():
    with pytest.raises(DataError, match=r"4 of 5 forget ids of L match no training annotation, the first: w, x, y;"):
        split_forget(entries("abc"), ["a", "w", "x", "y", "z"], "L")


def test_names_match_exactly():
    with pytest.raises(DataError, match="1 of 1 forget ids"):
        split_forget(entries(["forget/a.jpg", "b"]), ["a.jpg"], "L")


def test_nothing_left_to_retain():
    with pytest.raises(DataError, match="leaves nothing to retain"):
        split_forget(entries("ab"), ["b", "a"], "L")


def test_every_entry_of_a_forgotten_image_is_forgotten():
    rows = [Entry("a", ("one",)), Entry("b", ("x",)), Entry("a", ("two",))]
    df, dr = split_forget(rows, ["a"], "L")
    assert [entry.captions for entry in df] == [("one",), ("two",)] and [entry.image for entry in dr] == ["b"]


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 40), st.data())
def test_the_split_is_a_partition_and_nested(n, data):
    rows = entries([f"{i}.jpg" for i in range(n)])
    order = data.draw(st.permutations([row.image for row in rows]))
    small, large = sorted(data.draw(st.tuples(st.integers(1, n - 1), st.integers(1, n - 1))))
    df, dr = split_forget(rows, order[:large], "L")
    assert [entry.image for entry in df] == order[:large]
    assert dr == [row for row in rows if row not in df]
    assert split_forget(rows, order[:small], "L")[0] == df[:small]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text("abc/._é", min_size=1), min_size=1, unique=True))
def test_round_trip(tmp_path_factory, images):
    path = tmp_path_factory.mktemp("lists") / "deep" / "image-42.txt"
    write_forget_list(path, images)
    assert read_forget_list(path) == images and [p.name for p in path.parent.iterdir()] == ["image-42.txt"]


@pytest.mark.parametrize("images", [["a", "a"], ["a\nb"], [" "], [""]])
def test_invalid_lists_do_not_replace_the_previous_one(tmp_path, images):
    path = tmp_path / "image-42.txt"
    path.write_text("a\n")
    with pytest.raises(DataError, match="not written"):
        write_forget_list(path, images)
    assert path.read_text() == "a\n"
