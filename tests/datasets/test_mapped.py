"""Annotations in Arrow files: the same entries, splits, data sets and digests as from JSON, without all in memory."""

from __future__ import annotations

import json
import pickle
import tracemalloc

import numpy as np
import pytest

from lavis.common.errors import DataError, MissingFile
from lavis.datasets import mapped
from lavis.datasets.annotations import Entry, read_annotations, row_facts
from lavis.datasets.mapped import ImageNames, MappedEntries, images_of_rows, long_captions, picked, write_mapped
from lavis.datasets.pairs import PairDataset
from lavis.datasets.partition import merged, split_forget
from lavis.datasets.twins import exact_twins
from lavis.images import fingerprint
from lavis.images.fingerprint import content_digest, rows_digest
from lavis.images.store import ImageStore
from lavis.processors.image import ClipImageEval
from lavis.processors.text import ClipCaption
from tests.noise import save_image

ROWS = [
    Entry(f"{i % 9}.png", tuple(f"Caption {i} {k}" for k in range(1 + i % 3)), extra={"label": i} if i % 2 else {})
    for i in range(10)
] + [Entry("9.png", ("é ü",), extra={"field": ["x", 1.5]})]


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch):
    monkeypatch.setattr(mapped, "PIECE", 3)


@pytest.fixture
def store(tmp_path):
    for i in range(10):
        save_image(tmp_path / "images" / f"{i}.png", i)
    return ImageStore(tmp_path / "images")


def written(folder, entries=ROWS, name="rows.arrow") -> MappedEntries:
    assert write_mapped(folder / name, entries) == len(entries)
    return MappedEntries([folder / name])


@pytest.mark.parametrize("rows", [None, [1, 4, 7, 8], [8, 2, 2, 10, 0]])
def test_entries_are_those_that_were_written(tmp_path, rows):
    found, wanted = written(tmp_path), ROWS
    if rows is not None:
        found, wanted = picked(found, np.array(rows)), [ROWS[i] for i in rows]
    for one in (found, pickle.loads(pickle.dumps(found))):  # noqa: S301
        assert list(one) == wanted and len(one) == len(wanted)
        assert [one[i] for i in range(-len(wanted), len(wanted))] == wanted * 2
        assert list(one[1:3]) == wanted[1:3]
    assert list(ImageNames(found)) == list(ImageNames(wanted)) and wanted[0].image in ImageNames(found)
    assert list(images_of_rows(found)) == [entry.images for entry in wanted]
    for size in (0, 4, 11, 100):
        assert list(long_captions(found, size)) == list(long_captions(wanted, size))
    with pytest.raises(IndexError):
        found[len(wanted)]


@pytest.mark.parametrize("ids", [None, 7, "name"])
def test_a_data_set_is_that_of_the_list(tmp_path, store, ids):
    rows = [Entry(e.image, e.captions, ids if n % 2 else None, e.extra) for n, e in enumerate(ROWS)]
    one, other = (
        PairDataset(entries, store, ClipImageEval(8), ClipCaption()) for entries in (rows, written(tmp_path, rows))
    )
    assert list(other.captions) == one.captions and other.captions[2:5] == one.captions[2:5]
    assert [other.captions[i] for i in range(len(one.captions))] == one.captions
    assert other.image_ids.tolist() == one.image_ids.tolist()
    for epoch in (0, 1):
        first, second = one.batch([0, 10, 5], epoch), other.batch([0, 10, 5], epoch)
        assert first["captions"] == second["captions"] and first["images"].equal(second["images"])


def test_df_dr_twins_and_digests_are_those_of_the_list(tmp_path, store):
    (tmp_path / "images" / "8.png").write_bytes((tmp_path / "images" / "1.png").read_bytes())
    found = []
    for entries in (ROWS, written(tmp_path)):
        df, dr = split_forget(entries, ["1.png", "./3.PNG"], "list")
        digest = rows_digest([("df", map(row_facts, df)), ("dr", map(row_facts, dr))])
        found.append((df, list(dr), exact_twins(store, df, dr), list(merged(dr)), digest))
    assert found[0] == found[1]
    assert [entry.image for entry in found[0][0]] == ["1.png", "3.png"] and found[0][2] == [("1.png", "8.png")]


def test_rows_are_digested_as_a_whole(monkeypatch):
    monkeypatch.setattr(fingerprint, "ROWS", 2)
    facts = [row_facts(entry) for entry in ROWS]
    for sets in ([], [("df", [])], [("df", facts[:2]), ("dr", facts[2:])]):
        assert rows_digest(sets) == content_digest(sets)


def test_the_command_writes_what_the_json_file_says(tmp_path, capsys):
    items = [{"image": f"{i}.png", "caption": f"c {i}", "image_id": i, "person": "p"} for i in range(7)]
    (tmp_path / "rows.json").write_text(json.dumps(items))
    assert mapped.main([str(tmp_path / "rows.json"), str(tmp_path / "rows.arrow")]) == 0
    assert "7 entries" in capsys.readouterr().out
    assert list(MappedEntries([tmp_path / "rows.arrow"])) == read_annotations(tmp_path / "rows.json")
    with pytest.raises(DataError, match=r"must end in \.arrow"):
        mapped.main([str(tmp_path / "rows.json"), str(tmp_path / "rows.txt")])


def test_files_that_cannot_be_used_are_named(tmp_path):
    path = tmp_path / "rows.arrow"
    with pytest.raises(MissingFile, match="annotation file"):
        MappedEntries([path])
    for content in (b"", b"no table", written(tmp_path, name="good.arrow").paths[0].read_bytes()[:-30]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"{path} cannot be .*write it again"):
            MappedEntries([path])
    import pyarrow

    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_file(sink, pyarrow.schema([("x", "int8")])):
        pass
    with pytest.raises(DataError, match="has the columns x"):
        MappedEntries([path])


def test_bytes_per_row_are_few(tmp_path, monkeypatch):
    """Beyond the mapped file, a data set of n rows takes some numbers per row; in a list it takes hundreds of bytes."""
    monkeypatch.undo()

    class Everything(ImageStore):
        def check(self, images):
            pass

    def taken(entries_of) -> float:
        tracemalloc.start()
        dataset = PairDataset(entries_of(), Everything(tmp_path), ClipImageEval(8), ClipCaption())
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return size / len(dataset)

    path = tmp_path / "many.arrow"
    count = write_mapped(
        path, (Entry(f"retain/{i:09d}.jpg", (f"a caption of forty letters, {i:012d}",)) for i in range(20_000))
    )
    assert count == 20_000
    assert taken(lambda: MappedEntries([path])) < 40
    assert taken(lambda: list(MappedEntries([path]))) > 300
