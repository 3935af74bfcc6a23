"""Evaluations never overwrite what a training run found out."""

from __future__ import annotations

import json

import pytest
import yaml

import evaluate
from tests.small import write_world


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    import train

    world = write_world(tmp_path_factory.mktemp("evaluations"), run_keys={"max_epoch": 1, "metrics": ["retrieval"]})
    assert train.main(["--cfg-path", str(world.config)]) == 0
    return world


def results(folder):
    return json.loads((folder / "results.json").read_text())


def evaluated(world, *options, config=None):
    checkpoint = world.output / "original/clip/salmu_retrieval/checkpoint_best.pth"
    words = ["--cfg-path", str(config or world.config), "--options", f"run.checkpoint={checkpoint}", *options]
    assert evaluate.main(words) == 0


def test_an_evaluation_on_the_runs_data_adds_its_metrics(trained):
    folder = trained.output / "original/clip/salmu_retrieval"
    before = results(folder)
    evaluated(trained, "run.metrics=[membership]")
    after = results(folder)
    assert before["metrics"].items() < after["metrics"].items() and "mia_auc" not in before["metrics"]
    assert after["seconds"]["train"] == before["seconds"]["train"] and after["method"] == before["method"]
    (single,) = (folder / "evaluations").glob("*.json")
    assert json.loads(single.read_text())["metrics"].keys() <= after["metrics"].keys()


def test_other_data_lands_in_a_folder_of_its_own_and_twice_is_once(trained, tmp_path):
    folder = trained.output / "original/clip/salmu_retrieval"
    before = (folder / "results.json").read_bytes()
    content = yaml.safe_load(trained.config.read_text())
    notes = content["datasets"]["salmu"]["build_info"]["annotations"]
    notes["test"]["storage"] = notes["holdout_identity"]["storage"]
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(content))
    for _ in range(2):
        evaluated(trained, config=other)
    assert (folder / "results.json").read_bytes() == before
    (found,) = (folder / "evaluations").glob("*/results.json")
    assert json.loads(found.read_text())["data"]["splits"]["test"] != json.loads(before)["data"]["splits"]["test"]


def test_an_output_folder_that_is_asked_for_is_used(trained, tmp_path):
    evaluated(trained, f"run.output_dir={tmp_path}")
    assert list(tmp_path.rglob("results.json"))
