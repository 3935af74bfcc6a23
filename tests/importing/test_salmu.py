"""The import of published shards: layout, where each field comes from, resuming."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pyarrow
import pytest
import yaml

import lavis.datasets
from lavis.common.files import FolderWriter
from lavis.datasets.salmu import SalmuBuilder
from lavis.importing import salmu as salmu_import
from lavis.importing.salmu import STATE, make_plan, run_import
from lavis.importing.salmu_parquet import Shard, iter_images
from lavis.settings.config import compose_dataset
from lavis.settings.schema import RunConfig
from tests.importing.salmu_source import COUNTS, entries, images, split_rows, write_json, write_shard, write_split

DEFAULTS = Path(lavis.datasets.__file__).parent.parent / "configs" / "datasets" / "salmu" / "defaults.yaml"
NOTES = "sensitive_set_captions_metadata.json"


class TestLayout:
    def test_images_are_the_published_bytes(self, call, source):
        assert call() == 0
        expected = {f"{s}/{row['file_name']}": row["image"] for s, rows in source.rows.items() for row in rows}
        assert images(call.out) == expected

    def test_train_val_and_test_divide_forget_and_retain(self, call):
        call("--test-size", "4", "--val-size", "2")
        train, val, test = (set(entries(call.out, split)) for split in ("train", "val", "test"))
        assert (len(train), len(val), len(test)) == (12 + 30 - 6, 2, 4)
        assert not (train & val or train & test or val & test)
        assert all(image.split("/")[0] == "retain_synth" for image in val | test)

    def test_default_sample_is_a_tenth_of_a_small_source(self, call):
        call()
        assert len(entries(call.out, "test")) == len(entries(call.out, "val")) == 3

    def test_entries_contain_all_known_fields(self, call, source):
        call()
        row = source.rows["forget"][3]
        assert entries(call.out, "train")[f"forget/{row['file_name']}"] == {
            "image": f"forget/{row['file_name']}",
            "caption": [row["text"]],
            "identity_id": row["identity_id"],
            "field": "email",
            "value": "a@b.example",
            "generic_caption": "a photo of a person",
        }
        anonymous = source.rows["retain_synth"][1]
        found = {k: v for split in ("train", "val", "test") for k, v in entries(call.out, split).items()}
        assert set(found[f"retain_synth/{anonymous['file_name']}"]) == {"image", "caption"}

    def test_holdouts_and_metadata(self, call, source):
        call()
        assert len(entries(call.out, "holdout_identity")) == len(entries(call.out, "holdout_association")) == 4
        for path in source.bench.glob("*.json"):
            assert (call.out / "metadata" / path.name).read_bytes() == path.read_bytes()

    def test_forget_lists_contain_the_forget_split_in_three_orders(self, call, source):
        call()
        lists = [(call.df / f"image-{seed}.txt").read_text().splitlines() for seed in (42, 87, 21)]
        assert lists[0] == sorted(f"forget/{row['file_name']}" for row in source.rows["forget"])
        assert set(lists[0]) == set(lists[1]) == set(lists[2]) and lists[0] != lists[1] != lists[2] != lists[0]

    def test_val_and_test_splits_of_the_source_are_used(self, call, source):
        extra = [row | {"file_name": f"new{i}.jpg"} for i, row in enumerate(source.rows["retain_synth"][:5])]
        write_split(source.bench / "data", "validation", extra[:2], shards=1)
        write_split(source.bench / "data", "test", extra[2:], shards=1)
        assert call() == 0
        assert set(entries(call.out, "val")) == {"val/new0.jpg", "val/new1.jpg"}
        assert len(entries(call.out, "test")) == 3 and len(entries(call.out, "train")) == 42

    def test_builder_loads_the_result(self, call, monkeypatch):
        call()
        text = DEFAULTS.read_text().replace("data/lavis_cache/salmu", str(call.out))
        here = yaml.safe_load(text.replace("data/Df/salmu", str(call.df)))
        builder = SalmuBuilder(compose_dataset("salmu", [("here", here)]), RunConfig(df_size=5, df_seed=87))
        builder.prepare()
        parts = builder.partition()
        assert (len(parts.df), len(parts.dr)) == (5, 12 + 30 - 6 - 5)
        assert builder.splits == ["train", "val", "test", "holdout_identity", "holdout_association"]
        assert set(builder.evaluation_entries()) == {"test", "df", "dr", "holdout_identity", "holdout_association"}
        dataset = builder.dataset(parts.df, "eval")
        assert tuple(dataset[0]["image"].shape) == (3, 224, 224)
        assert dataset[0]["caption"].startswith("forget says: Mail-")
        assert len(builder.reference_entries("clean")) == 30 - 6


class TestSources:
    def test_both_repositories_give_the_same_as_the_evaluation_one(self, call, source, tmp_path):
        call()
        first = {path.name: path.read_bytes() for path in (call.out / "annotations").iterdir()}
        assert call("--out", str(tmp_path / "both"), parquet=[source.training, source.bench]) == 0
        both = {path.name: path.read_bytes() for path in (tmp_path / "both" / "annotations").iterdir()}
        assert {name: sorted(json.loads(text), key=str) for name, text in both.items()} == {
            name: sorted(json.loads(text), key=str) for name, text in first.items()
        }
        assert images(tmp_path / "both") == images(call.out)

    def test_parquet_may_be_the_data_folder_and_repeated(self, call, source):
        folders = ["--parquet", str(source.bench), "--parquet", str(source.training / "data")]
        assert call(*folders, parquet=[source.bench / "data"]) == 0
        assert len(images(call.out)) == sum(COUNTS.values())

    def test_the_training_repository_alone_does_not_separate_forget_and_holdouts(self, call, source):
        text = call.error(parquet=[source.training])
        assert "sensitive, retain_synth" in text.replace("retain_synth, sensitive", "sensitive, retain_synth")
        assert "salmubench-512-redistributed" in text

    def test_training_rows_that_are_in_no_split(self, call, source):
        rows = [source.rows["forget"][0] | {"file_name": f"odd{i}.jpg"} for i in range(4)]
        write_split(source.training / "data", "sensitive", rows)
        text = call.error(parquet=[source.bench, source.training])
        assert "sensitive-00000-of-00002.parquet: 2 rows are not among those of forget, " in text and "odd0.jpg" in text

    def test_captions_come_from_metadata_if_shards_have_none(self, call, source):
        write_split(source.bench / "data", "forget", source.rows["forget"], drop=["text", "identity_id"])
        assert call() == 0
        row = source.rows["forget"][0]
        assert entries(call.out, "train")[f"forget/{row['file_name']}"]["caption"] == [row["text"]]

    def test_the_caption_of_the_shard_is_preferred(self, call, source, caplog):
        row = source.rows["forget"][0]
        write_json(source.bench / NOTES, source.notes | {row["file_name"]: {"caption": "another"}})
        call()
        assert entries(call.out, "train")[f"forget/{row['file_name']}"]["caption"] == [row["text"]]
        assert f"1 captions of {NOTES} differ" in caplog.text and row["file_name"] in caplog.text

    def test_list_of_captions_and_integer_identities(self, call, source):
        rows = [row | {"text": [row["text"], "again"], "identity_id": i} for i, row in enumerate(source.rows["forget"])]
        write_split(source.bench / "data", "forget", rows)
        call()
        found = list(entries(call.out, "train").values())[0]
        assert len(found["caption"]) == 2 and found["identity_id"] == 0

    def test_integers_with_nulls_stored_as_floats(self, call, source):
        rows = [row | {"identity_id": 7.0 if i else float("nan")} for i, row in enumerate(source.rows["retain_synth"])]
        write_split(source.bench / "data", "retain_synth", rows)
        call("--test-size", "0", "--val-size", "0")
        assert [e.get("identity_id") for e in entries(call.out, "train").values()][12:15] == [None, 7, 7]

    def test_memory_does_not_grow_with_the_shard(self, tmp_path):
        row = {"text": "a", "identity_id": "0", "file_name": "a.jpg"}
        rows = [row | {"image": bytes([i]) * 100_000} for i in range(200)]
        path = write_shard(tmp_path / "forget.parquet", rows)
        before = pyarrow.total_allocated_bytes()
        taken = [pyarrow.total_allocated_bytes() - before for _ in iter_images(Shard(path, "forget"))]
        assert len(taken) == 200 and max(taken) < 5_000_000

    def test_other_files_are_ignored(self, call, source, caplog):
        write_shard(source.bench / "data" / "train-00000-of-00001.parquet", source.rows["forget"])
        write_shard(source.bench / "data" / "odd name.parquet", source.rows["forget"])
        assert call() == 0
        assert "ignoring shards of unknown splits: train" in caplog.text and "odd name.parquet" in caplog.text


class TestResume:
    def test_a_stopped_import_resumes_with_the_same_result(self, call, source, tmp_path, monkeypatch, capsys):
        written = []
        real = FolderWriter.write

        def stop(writer, name, data):
            if len(written) == 25:
                raise KeyboardInterrupt
            counted(writer, name, data)

        def counted(writer, name, data):
            written.append((writer.folder, name))
            real(writer, name, data)

        monkeypatch.setattr(FolderWriter, "write", stop)
        assert call() == 130 and "again to resume" in capsys.readouterr().err
        assert not (call.out / "annotations").exists()
        monkeypatch.setattr(FolderWriter, "write", counted)
        assert call() == 0
        assert max(Counter(written).values()) == 1
        assert call("--out", str(tmp_path / "whole")) == 0
        assert images(tmp_path / "whole") == images(call.out)
        for path in (call.out / "annotations").iterdir():
            assert path.read_bytes() == (tmp_path / "whole" / "annotations" / path.name).read_bytes()

    def test_finished_shards_are_not_read_again(self, call, monkeypatch):
        call()
        monkeypatch.setattr(salmu_import, "iter_images", lambda shard: pytest.fail(f"{shard} read again"))
        assert call() == 0

    @pytest.mark.parametrize("damage", ["missing", "short"])
    def test_a_damaged_image_is_written_again(self, call, source, damage):
        call()
        row = source.rows["holdout_identity"][0]
        path = call.out / "images" / "holdout_identity" / row["file_name"]
        path.unlink() if damage == "missing" else path.write_bytes(b"x")
        call()
        assert path.read_bytes() == row["image"]

    def test_changed_shard_is_imported_again(self, call, source):
        call()
        rows = [row | {"image": row["image"][:-1] + b"!"} for row in source.rows["forget"]]
        write_split(source.bench / "data", "forget", rows)
        call()
        assert images(call.out)[f"forget/{rows[0]['file_name']}"] == rows[0]["image"]

    @pytest.mark.parametrize("mark", ["", "[]", '{"sizes": []}'])
    def test_a_broken_marker_is_ignored(self, call, mark):
        call()
        before = images(call.out)
        for path in (call.out / STATE).glob("*.json"):
            path.write_text(mark)
        assert call() == 0 and images(call.out) == before

    def test_two_imports_at_once(self, call):
        with salmu_import.lock(call.out / STATE / "lock"):
            assert "another import is writing" in call.error()

    def test_no_space_left(self, call, source, monkeypatch):
        def full(path, data):
            raise OSError(28, "No space left on device", str(path))

        monkeypatch.setattr(salmu_import, "write_bytes", full)
        text = call.error()
        assert "No space left on device" in text and "run the command again" in text

    def test_progress_is_silent_without_a_terminal(self, call, capsys):
        call()
        streams = capsys.readouterr()
        assert "importing" not in streams.err
        assert "images: forget 12, holdout_association 4, holdout_identity 4, retain_synth 30;" in streams.out


def test_ten_times_the_rows_take_at_most_twelve_times_the_calls(tmp_path):
    """Calls of Python and C functions are counted, not seconds; what an import costs whatever its size is left out."""

    def calls(count: int) -> int:
        folder = tmp_path / str(count)
        for split, share in COUNTS.items():
            write_shard(folder / f"{split}.parquet", split_rows(split, share * count))
        counted = 0

        def count_call(frame, event, argument):
            nonlocal counted
            counted += event in ("call", "c_call")

        sys.setprofile(count_call)
        try:
            run_import(make_plan([folder]), tmp_path / f"out-{count}", tmp_path / f"lists-{count}")
        finally:
            sys.setprofile(None)
        return counted

    calls(1)  # imports
    few, many = calls(2), calls(20)
    assert many <= 12 * few
    assert (many - few) / (18 * sum(COUNTS.values())) < 250  # for each further image; 480 with a general writer
