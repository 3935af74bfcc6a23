from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lavis.common import files
from lavis.common.errors import DataError, MissingFile
from lavis.common.results import FIELDS, read_results, write_results


def example(**changes):
    return {
        "schema": 1, "name": "vlul", "method": "vlul", "backbone": "clip", "task": "salmu_tiny_retrieval",
        "df_size": 36, "df_seed": 42, "seed": 42, "metrics": {"df_txt_r1": 2.5}, "counts": {"df": 36},
        "checkpoint": "checkpoint_best.pth", "commit": None, "command": ["unlearn.py"], "seconds": {"train": 1.5},
        "config": {"run": {"seed": 42}}, "finished": True,
    } | changes  # fmt: skip


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "results.json"
    write_results(path, example())
    assert read_results(path) == example()
    assert [p.name for p in path.parent.iterdir()] == ["results.json"]


def test_every_field_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "results_schema.md").read_text()
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1 : len(FIELDS) + 1] == (
        list(FIELDS)
    )


def test_numbers_of_other_libraries_and_nan(tmp_path):
    path = tmp_path / "results.json"
    metrics = {"a": np.float64(1.5), "b": torch.tensor(2), "c": float("nan"), "d": float("inf")}
    write_results(path, example(metrics=metrics, checkpoint=Path("a/b.pth"), command=("x", "y")))
    found = read_results(path)
    assert found["metrics"] == {"a": 1.5, "b": 2, "c": None, "d": None}
    assert found["checkpoint"] == str(Path("a/b.pth")) and found["command"] == ["x", "y"]


def test_a_failed_write_keeps_the_previous_file(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_results(path, example())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_results(path, example(seed=7))
    assert read_results(path)["seed"] == 42
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_results_that_do_not_fit_the_schema_are_not_written(tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(DataError, match="key 'seed' must be a whole number"):
        write_results(path, example(seed="42"))
    assert not path.exists()


@pytest.mark.parametrize("length", [0, 1, 40, 300])
def test_a_truncated_file_is_named(tmp_path, length):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(example())[:length])
    with pytest.raises(DataError, match=r"results\.json is not valid JSON"):
        read_results(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "expected a JSON object, found list"),
        (json.dumps({k: v for k, v in example().items() if k != "metrics"}), "key 'metrics' is missing"),
        (json.dumps(example(schema=2)), "key 'schema' is 2, this version reads 1"),
        (json.dumps(example(finished=1)), "key 'finished' must be true or false, found 1"),
        (json.dumps(example(seed=True)), "key 'seed' must be a whole number, found True"),
        (json.dumps(example(metrics={"df_txt_r1": "2"})), "key 'metrics.df_txt_r1' must be a number or null"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path, text, message):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_results(path)
    assert str(path) in str(caught.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(MissingFile, match="does not exist"):
        read_results(tmp_path / "results.json")
    (tmp_path / "results.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="results.json is not UTF-8 text"):
        read_results(tmp_path / "results.json")
