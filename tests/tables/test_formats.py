"""The same pairs in every format are the same pairs; kept and dropped rows add up to the rows of the file."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lavis.common.errors import DataError, MissingFile
from lavis.datasets.own import OwnPairsBuilder
from lavis.settings.config import compose_dataset
from lavis.settings.schema import RunConfig
from tests.tables.people import COLUMNS, WRITERS, people_rows, photo, write_csv, write_photos

FROM_FILES = {"folder": {"person": "folder"}, "people.tar": {"person": "who"}}


def builder(tmp_path, source, columns=None, **settings):
    given = {"source": str(source), "columns": columns or {}, **settings}
    run = RunConfig(output_dir=str(tmp_path / "output"))
    return OwnPairsBuilder(compose_dataset("pairs", [("test", given)]), run)


@pytest.fixture
def rows():
    return people_rows()


def pairs(built):
    return [(entry.image, entry.captions, entry.extra["person"]) for entry in built.entries("train")]


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_has_the_same_pairs_and_pixels(tmp_path, rows, name):
    write_photos(tmp_path / "photos", rows)
    source = WRITERS[name](tmp_path / name, rows)
    images = "" if name in ("folder", "people.tar", "bytes.parquet") else str(tmp_path / "photos")
    built = builder(tmp_path, source, FROM_FILES.get(name, COLUMNS), images=images)
    expected = [(row["path"], (row["text"],), row["who"]) for row in rows]
    assert sorted(pairs(built)) == sorted(expected)
    assert built.table.dropped == []
    data = built.dataset(built.entries("train"), "eval")
    plain = builder(tmp_path, write_csv(tmp_path / "plain.csv", rows), COLUMNS, images=str(tmp_path / "photos"))
    reference = plain.dataset(plain.entries("train"), "eval")
    ours = {entry.image: data.images([i])[0] for i, entry in enumerate(data.entries)}
    for i, entry in enumerate(reference.entries):
        assert torch.equal(ours[entry.image], reference.images([i])[0])


def test_a_folder_saved_by_datasets_has_the_same_pairs(tmp_path, rows):
    datasets = pytest.importorskip("datasets")
    write_photos(tmp_path / "photos", rows)
    table = {
        "path": [str(tmp_path / "photos" / row["path"]) for row in rows],
        "text": [row["text"] for row in rows],
        "who": [row["who"] for row in rows],
    }
    saved = datasets.Dataset.from_dict(table).cast_column("path", datasets.Image())
    datasets.DatasetDict({"train": saved.select(range(30)), "test": saved.select(range(30, 40))}).save_to_disk(
        str(tmp_path / "saved")
    )
    built = builder(tmp_path, tmp_path / "saved", COLUMNS)
    assert {split: len(built.entries(split)) for split in built.splits} == {"train": 30, "test": 10}
    assert [entry.captions[0] for entry in built.entries("test")] == table["text"][30:]


def test_columns_are_guessed_by_their_usual_names(tmp_path, rows):
    write_photos(tmp_path / "photos", rows)
    built = builder(tmp_path, write_csv(tmp_path / "p.csv", rows), images=str(tmp_path / "photos"))
    assert len(built.entries("train")) == 40


def test_patterns_and_several_files(tmp_path, rows):
    write_photos(tmp_path, rows)
    write_csv(tmp_path / "a-0.csv", rows[:25])
    write_csv(tmp_path / "a-1.csv", rows[25:])
    for source in (
        str(tmp_path / "a-*.csv"),
        str(tmp_path / "a-{0..1}.csv"),
        [str(tmp_path / f"a-{i}.csv") for i in (0, 1)],
    ):
        built = builder(tmp_path, "", COLUMNS) if not source else None
        built = OwnPairsBuilder(
            compose_dataset("pairs", [("test", {"source": source, "columns": COLUMNS})]),
            RunConfig(output_dir=str(tmp_path / "output")),
        )
        assert [entry.captions[0] for entry in built.entries("train")] == [row["text"] for row in rows]


def test_a_column_that_is_not_there_names_the_closest(tmp_path, rows):
    source = write_csv(tmp_path / "p.csv", rows)
    with pytest.raises(DataError, match=r"no column 'pth' \(columns.image\); closest: 'path'"):
        builder(tmp_path, source, {"image": "pth"}).prepare()
    with pytest.raises(DataError, match="no role 'imgae'"):
        builder(tmp_path, source, {"imgae": "path"}).prepare()
    with pytest.raises(MissingFile, match="nowhere.csv does not exist"):
        builder(tmp_path, tmp_path / "nowhere.csv").prepare()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "path,text\nx.jpg\n", "row 1 .* has 1 cells where the header has 2"),
        ("a.csv", "path,path\nx.jpg,b\n", "more than once"),
        ("a.csv", "", "is empty"),
        ("a.csv", "path,text\n", "has no rows"),
        ("a.json", '{"path": 1}', "expected a list of objects"),
        ("a.json", "[1]", "row 1 is not an object"),
        ("a.jsonl", '{"path": "x.jpg", "text": "b"}\n{"path"', "line 2 is not valid JSON"),
        ("a.parquet", "PAR1", "not a readable parquet"),
        ("a.tar", "nothing", "not a plain tar"),
        ("a.xlsx", "x", "format of .* is unknown"),
    ],
)
def test_malformed_tables_are_refused_with_their_place(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        builder(tmp_path, tmp_path / name).prepare()


CELLS = st.sampled_from(
    ["", " ", "a.jpg", "./a.jpg", "A.JPG", "b.jpg", "gone.jpg", "../a.jpg", "/etc/x.jpg", "bad.jpg"]
)
TEXTS = st.sampled_from(["", "  ", "a caption", 'with "quotes", and\na line break', "üñí"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(), name=st.sampled_from(["people.csv", "people.tsv", "people.json", "people.jsonl", "people.parquet"])
)
def test_kept_and_dropped_rows_are_all_rows(tmp_path, data, name):
    root = tmp_path / "photos"
    write_photos(root, [{"path": "a.jpg"}, {"path": "b.jpg"}])
    (root / "bad.jpg").write_bytes(b"no image")
    rows = data.draw(st.lists(st.fixed_dictionaries({"path": CELLS, "text": TEXTS}), min_size=1, max_size=12))
    built = builder(tmp_path, WRITERS[name](tmp_path / name, rows), images=str(root))
    assert len(built.table.pairs) + len(built.table.dropped) == len(rows)
    usable = [row for row in rows if row["path"] in ("a.jpg", "./a.jpg", "A.JPG", "b.jpg") and row["text"].strip()]
    assert [pair.captions for pair in built.table.pairs] == [(row["text"],) for row in usable]
    assert {pair.image for pair in built.table.pairs} <= {"a.jpg", "b.jpg"}


def test_dropped_rows_are_listed(tmp_path, rows):
    write_photos(tmp_path / "photos", rows[:30])
    rows[3]["text"] = " "
    built = builder(tmp_path, write_csv(tmp_path / "p.csv", rows), COLUMNS, images=str(tmp_path / "photos"))
    built.prepare()
    listed = built.dropped_path.read_text().splitlines()
    assert listed[0] == "row,image,reason" and len(listed) == 12
    assert "p.csv: row 4,p3/a.b_03-0.76.jpg,no caption" in listed
    assert built.counts == {"dropped_rows": 11}
    (notice,) = built.notices()
    assert notice.startswith("11 of 40 rows were dropped: 10 because the image does not exist, 1 because no caption")


def test_an_image_that_loses_something_is_counted(tmp_path, rows):
    import numpy as np
    from PIL import Image

    write_photos(tmp_path, rows)
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(tmp_path / "grey.png")
    Image.new("RGBA", (8, 8)).save(tmp_path / "clear.png")
    Image.new("CMYK", (8, 8)).save(tmp_path / "print.jpg")
    turned = Image.new("RGB", (8, 8))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    more = [{"path": p, "text": "t", "who": "p0"} for p in ("grey.png", "clear.png", "print.jpg", "turned.jpg")]
    built = builder(tmp_path, write_csv(tmp_path / "p.csv", [*rows, *more]), COLUMNS)
    text = " ".join(built.notices())
    for loss in (
        "1 images have 16-bit grey",
        "1 images have transparency",
        "1 images have CMYK",
        "1 images have an EXIF",
    ):
        assert loss in text
    assert json.dumps(built.counts) == "{}"


def write_samples(path, rows):
    """A tar file of what each row has: an image (or bytes that are none), a caption."""
    import io
    import tarfile

    with tarfile.open(path, "w") as archive:
        for number, (kind, text) in enumerate(rows):
            members = {} if kind == "none" else {".jpg": photo(number) if kind == "image" else b"no image"}
            members |= {} if text is None else {".txt": text.encode()}
            for ending, content in members.items():
                member = tarfile.TarInfo(f"{number:03d}.x{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def write_files(path, rows):
    """The same as a folder."""
    path.mkdir()
    for number, (kind, text) in enumerate(rows):
        if kind != "none":
            (path / f"{number:03d}.x.jpg").write_bytes(photo(number) if kind == "image" else b"no image")
        if text is not None:
            (path / f"{number:03d}.x.txt").write_text(text)


def write_inside(path, rows):
    """The same as parquet with the bytes inside; a row without either is a row all the same."""
    import pandas as pd

    contents = {"image": photo, "bad": lambda number: b"no image", "none": lambda number: None}
    images = [{"bytes": contents[kind](number), "path": f"{number:03d}.x.jpg"} for number, (kind, _) in enumerate(rows)]
    pd.DataFrame({"image": images, "caption": [text for _, text in rows]}).to_parquet(path)


SAMPLES = st.tuples(st.sampled_from(["image", "bad", "none"]), st.sampled_from(["a caption", " ", None]))
INSIDE = {"samples.tar": write_samples, "files": write_files, "inside.parquet": write_inside}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(SAMPLES, max_size=8), name=st.sampled_from(list(INSIDE)))
def test_kept_and_dropped_samples_are_all_samples(tmp_path_factory, rows, name):
    rows = [("image", "the first"), *rows]
    folder = tmp_path_factory.mktemp("samples")
    INSIDE[name](folder / name, rows)
    built = builder(folder, folder / name)
    there = [row for row in rows if name == "inside.parquet" or row != ("none", None)]
    usable = [row for row in rows if row[0] == "image" and row[1] and row[1].strip()]
    assert len(built.table.pairs) + len(built.table.dropped) == len(there)
    assert len(built.table.pairs) == len(usable)
