"""The import of published shards refuses bad input with one message and writes nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet, table

from lavis.common.errors import DataError, MissingFile
from lavis.importing.salmu import main
from lavis.importing.salmu_metadata import draw_held_out
from lavis.importing.salmu_parquet import Row, Shard, checked_name, find_shards, iter_images
from tests.importing.salmu_source import COUNTS, images, write_json, write_shard, write_split

NOTES = "sensitive_set_captions_metadata.json"


class TestRefused:
    @pytest.mark.parametrize("column", ["image", "file_name"])
    def test_missing_column(self, call, source, column):
        write_split(source.bench / "data", "forget", source.rows["forget"], drop=[column])
        assert f"forget-00000-of-00002.parquet: no column '{column}'; found: " in call.error()

    @pytest.mark.parametrize("damage", ["truncated", "text", "pointer"])
    def test_corrupt_shard(self, call, source, damage):
        path = source.bench / "data" / "holdout_identity-00001-of-00002.parquet"
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
        path.write_bytes({"truncated": path.read_bytes()[:-40], "text": b"hello", "pointer": pointer}[damage])
        text = call.error()
        assert path.name in text and "download it again" in text
        assert ("is a git-lfs pointer" in text) == (damage == "pointer")

    def test_damaged_pages_stop_the_import_which_resumes_later(self, call, source):
        path = source.bench / "data" / "retain_synth-00001-of-00002.parquet"
        good, data = path.read_bytes(), bytearray(path.read_bytes())
        data[4:60] = b"\xff" * 56
        path.write_bytes(data)
        assert path.name in call.error()
        path.write_bytes(good)
        assert call() == 0 and len(images(call.out)) == sum(COUNTS.values())

    def test_missing_shard_of_a_series(self, call, source):
        (source.bench / "data" / "forget-00000-of-00002.parquet").unlink()
        assert "1 of 2 shards of forget are missing, the first: forget-00000-of-00002" in call.error()

    def test_two_series_of_a_split(self, call, source):
        write_shard(source.bench / "data" / "forget.parquet", source.rows["forget"])
        assert "split forget has shards of different series" in call.error()

    @pytest.mark.parametrize("name", [NOTES, "sensitive_set_generic_captions.json"])
    def test_metadata_of_other_rows(self, call, source, name):
        path = source.bench / name
        write_json(path, dict(list(json.loads(path.read_text()).items())[5:]))
        text = call.error()
        first = ", ".join(f"forget/{row['file_name']}" for row in source.rows["forget"][:3])
        assert f"{name} does not match the shards: 5 sensitive rows are not in it, the first: {first};" in text
        assert call("--allow-unmatched") == 0

    def test_fragile_ids_of_other_rows_are_logged(self, call, source, caplog):
        write_json(source.bench / "fragile_set_ids.json", ["a.jpg", "b.jpg"])
        assert call() == 0 and "2 ids of fragile_set_ids.json are not retain rows" in caplog.text

    @pytest.mark.parametrize(("content", "message"), [("{", "line 1, column 2"), ("[]", "expected a JSON object")])
    def test_malformed_metadata(self, call, source, content, message):
        (source.bench / NOTES).write_text(content)
        assert message in call.error()

    def test_empty_caption_in_metadata(self, call, source):
        name = source.rows["forget"][0]["file_name"]
        write_json(source.bench / "sensitive_set_generic_captions.json", dict.fromkeys(source.notes, "a") | {name: " "})
        assert f"the caption of '{name}' must be non-empty text" in call.error()

    def test_duplicate_file_names(self, call, source):
        rows = source.rows["retain_synth"]
        write_split(source.bench / "data", "retain_synth", rows[:-2] + rows[:2])
        assert "split retain_synth: 2 file names occur more than once, the first: " in call.error()

    def test_an_image_both_in_forget_and_a_holdout(self, call, source):
        write_split(source.bench / "data", "holdout_identity", source.rows["forget"][:2])
        assert "sensitive splits: 2 file names occur more than once" in call.error()

    @pytest.mark.parametrize(
        "name", ["../evil.jpg", "/evil.jpg", "a/../../evil.jpg", "..", "C:\\evil.jpg", "\\\\h\\e.jpg"]
    )
    def test_names_that_leave_the_folder(self, call, source, name):
        rows = [source.rows["forget"][0] | {"file_name": name}, *source.rows["forget"][1:]]
        write_split(source.bench / "data", "forget", rows)
        assert "would leave the image folder; use a relative path" in call.error()
        assert not list(call.out.parent.rglob("*evil*"))

    @pytest.mark.parametrize("name", ["", None, "a\nb.jpg", " a.jpg", "a//b.jpg", "./a.jpg", "a\\b.jpg", "x" * 300])
    def test_unusable_names(self, name):
        with pytest.raises(DataError, match="row 7: file_name"):
            checked_name(name, "row 7")

    @pytest.mark.parametrize("caption", ["", " \n"])
    def test_empty_caption(self, call, source, caption):
        rows = [*source.rows["forget"][:7], source.rows["forget"][7] | {"text": caption}, *source.rows["forget"][8:]]
        write_split(source.bench / "data", "forget", rows)
        text = call.error()
        assert f"forget-00001-of-00002.parquet: row 1 ({rows[7]['file_name']}): empty caption" in text

    def test_captions_of_another_type(self, call, source):
        write_split(source.bench / "data", "forget", [row | {"text": 3} for row in source.rows["forget"]])
        assert "must be a string or a list of strings, found 3" in call.error()

    def test_no_caption_source(self, call, source):
        for split in ("forget", "retain_synth"):
            write_split(source.bench / "data", split, source.rows[split], drop=["text"])
        (source.bench / NOTES).unlink()
        text = call.error()
        assert "42 rows have no caption, the first: forget/" in text and f"{NOTES}, which was not found" in text

    @pytest.mark.parametrize("image", [None, b""])
    @pytest.mark.parametrize("struct", [True, False])
    def test_image_without_bytes(self, tmp_path, source, image, struct):
        rows = [source.rows["forget"][0], source.rows["forget"][1] | {"image": image}]
        path = write_shard(tmp_path / "forget.parquet", rows, struct)
        with pytest.raises(DataError, match=r"forget\.parquet: row 1: the image contains no bytes \(empty\)"):
            list(iter_images(Shard(path, "forget")))

    def test_image_as_text(self, tmp_path):
        path = tmp_path / "forget.parquet"
        parquet.write_table(table({"image": ["image.jpg"], "file_name": ["a.jpg"]}), path)
        with pytest.raises(DataError, match=r"contains no bytes \(str\)"):
            list(iter_images(Shard(path, "forget")))

    def test_no_shards(self, call, tmp_path):
        (tmp_path / "empty").mkdir()
        text = call.error(parquet=[tmp_path / "empty"])
        assert "no shards of SALMU" in text and str(tmp_path / "empty" / "data") in text

    def test_no_folder(self, tmp_path):
        with pytest.raises(MissingFile, match="is not a folder"):
            find_shards([tmp_path / "nowhere"])

    def test_no_retain_split(self, call, source):
        for path in (source.bench / "data").glob("retain_synth*"):
            path.unlink()
        assert "no retain_synth-*.parquet among the shards" in call.error()

    def test_empty_forget_split(self, call, source):
        for path in (source.bench / "data").glob("forget-*"):
            path.unlink()
        write_shard(source.bench / "data" / "forget.parquet", [])
        assert "contain no rows" in call.error()

    def test_sample_that_leaves_nothing(self, call):
        assert "must leave some of the 30 images" in call.error("--test-size", "30")

    def test_parquet_is_required(self, capsys):
        with pytest.raises(SystemExit) as caught:
            main([])
        assert caught.value.code == 2 and "--parquet" in capsys.readouterr().err


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 60), st.integers(0, 9), st.randoms(use_true_random=False))
def test_held_out_sample_depends_on_names_and_seed_only(count, seed, shuffle):
    rows = [Row("retain_synth", f"{i}.jpg", ("a",), None) for i in range(count)]
    mixed = list(rows)
    shuffle.shuffle(mixed)
    drawn = draw_held_out(rows, {}, seed)
    assert drawn == draw_held_out(mixed, {}, seed)
    assert set(drawn) == {"val", "test"} and not set(drawn["val"]) & set(drawn["test"])
    assert all(len(images) == max(1, count // 10) for images in drawn.values())
