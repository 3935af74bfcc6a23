"""Reading annotation files, and every error that they can have."""

from __future__ import annotations

import json

import pytest

from lavis.common.errors import DataError, MissingFile
from lavis.datasets.annotations import Entry, read_annotations


@pytest.fixture
def write(tmp_path):
    def make(content, name="train.json"):
        path = tmp_path / name
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
        return path

    return make


def test_captions_as_string_or_list(write):
    path = write([{"image": "a.jpg", "caption": "one"}, {"image": "b.jpg", "caption": ["x", "y"], "image_id": 7}])
    assert read_annotations(path) == [Entry("a.jpg", ("one",)), Entry("b.jpg", ("x", "y"), 7)]


def test_other_fields_become_extra(write):
    path = write([{"image": "a.jpg", "caption": "one", "identity_id": "p1", "field": "phone"}])
    assert read_annotations([path])[0].extra == {"identity_id": "p1", "field": "phone"}


def test_files_are_concatenated_in_order(write):
    paths = [write([{"image": f"{k}.jpg", "caption": "c"}], f"{k}.json") for k in "ba"]
    assert [entry.image for entry in read_annotations(paths)] == ["b.jpg", "a.jpg"]


def test_entries_are_hashable_and_frozen():
    entry = Entry("a.jpg", ("one",), extra={"field": []})
    assert hash(entry) == hash(Entry("a.jpg", ("one",), extra={"field": []}))
    with pytest.raises(AttributeError):
        entry.image = "b.jpg"


def test_a_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "bom.json"
    path.write_text('[{"image": "a.jpg", "caption": "é"}]', encoding="utf-8-sig")
    assert read_annotations(path)[0].captions == ("é",)


def test_missing_file_says_what_to_run(tmp_path):
    with pytest.raises(MissingFile, match="none.json does not exist; run the import"):
        read_annotations(tmp_path / "none.json", hint="run the import")


def test_malformed_json_names_line_and_column(write):
    path = write('[\n  {"image": "a.jpg",\n   "caption": }\n]')
    with pytest.raises(DataError, match=r"train\.json is not valid JSON: .* at line 3, column 15"):
        read_annotations(path)


def test_truncated_json_is_malformed(write):
    with pytest.raises(DataError, match="is not valid JSON"):
        read_annotations(write('[{"image": "a.jpg", "capt'))


def test_deep_nesting_and_bytes_are_refused(write, tmp_path):
    with pytest.raises(DataError, match="nested more than|expected a JSON list|entry 1"):
        read_annotations(write("[" * 200_000 + "]" * 200_000))
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_annotations(binary)
    with pytest.raises(DataError, match="is a folder; name a file instead"):
        read_annotations(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"image": "a"}, "expected a JSON list of {image, caption}, found an object"),
        ([["a", "b"]], "entry 1: expected an object with image and caption, found a list"),
        ([{"caption": "x"}], "entry 1: 'image' must be a path relative to the image root, found None"),
        ([{"image": " ", "caption": "x"}], "'image' must be a path"),
        ([{"image": "a.jpg"}], "entry 1: 'caption' must be a string or a list of strings, found null"),
        ([{"image": "a.jpg", "caption": []}], "'caption' must be a string or a list of strings"),
        ([{"image": "a.jpg", "caption": ["x", 3]}], "'caption' contains a number, which is not a string"),
        ([{"image": "a.jpg", "caption": "x"}, {"image": "b.jpg", "caption": " "}], r"entry 2: empty caption"),
        ([{"image": "a.jpg", "caption": ["x", ""]}], r"entry 1: empty caption"),
        ([{"image": "a.jpg", "caption": "x", "image_id": 1.5}], "'image_id' must be a string or an integer"),
        ('[{"image": "a.jpg", "caption": "\\ud800"}]', "caption is not text: character 1 is U\\+D800, half of a"),
        ([{"image": "a.jpg", "caption": "x", "identity_id": {"a": 1}}], "'identity_id' must be a string or an integer"),
        ([{"image": "a.jpg", "caption": "x", "identity_id": ["a"]}], "'identity_id' must be a string or an integer"),
    ],
)
def test_errors_name_file_entry_and_image(write, content, message):
    with pytest.raises(DataError, match=message) as caught:
        read_annotations(write(content))
    assert "train.json" in str(caught.value)
