"""Whole runs follow the model's recipe: sizes are compared before anything is read, overrides are in results.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from lavis.common.errors import ConfigError
from lavis.tasks.entry import evaluate, train
from tests.hub.folders import PLAIN, open_clip_folder


def changed(world, path: Path, model: dict, stage: dict) -> str:
    """The world's configuration with another model and other image processors."""
    content = yaml.safe_load(world.config.read_text())
    content["model"] = {"arch": "clip", **model}
    content["datasets"]["salmu"]["vis_processor"] = {"train": stage, "eval": stage}
    content["run"]["output_dir"] = str(path / "out")
    (path / "config.yaml").write_text(yaml.safe_dump(content))
    return str(path / "config.yaml")


def test_another_size_is_refused_before_anything_is_read(trained_world, tmp_path):
    source = open_clip_folder(tmp_path / "model", PLAIN)
    stage = {"name": "clip_image_eval", "image_size": 16}
    config = changed(trained_world, tmp_path, {"pretrained": source}, stage)
    with pytest.raises(ConfigError, match=r"vis_processor.train.image_size is 16, 32 in local-dir:"):
        train(config, [f"datasets.salmu.build_info.images.storage={tmp_path}/nowhere"])
    assert not (tmp_path / "out").exists()


def test_an_override_is_in_the_results(trained_world, tmp_path, heard):
    source = open_clip_folder(tmp_path / "model", PLAIN)
    stage = {"name": "clip_image_eval", "resize_mode": "shortest"}
    config = changed(trained_world, tmp_path, {"pretrained": source, "override_recipe": True}, stage)
    result = train(config, ["run.max_epoch=1"])
    written = json.loads((result.folder / "results.json").read_text())["overridden_recipe"]
    assert written[0].startswith("datasets.salmu.vis_processor.train.resize_mode is 'shortest', 'squash' in")
    assert "Recipe: model (open_clip): 32 px, bilinear, squash" in heard.text


def test_a_checkpoint_is_evaluated_by_its_own_recipe(trained_world, tmp_path, heard):
    """The configuration names no architecture, and what it trained from is gone."""
    source = open_clip_folder(tmp_path / "model", PLAIN)
    config = changed(trained_world, tmp_path, {"pretrained": source}, {"name": "clip_image_eval"})
    folder = train(config, ["run.max_epoch=1"]).folder
    shutil.rmtree(tmp_path / "model")
    evaluate(config, [f"run.checkpoint={folder}/checkpoint_best.pth"])
    assert heard.text.count("32 px, bilinear, squash") == 2
