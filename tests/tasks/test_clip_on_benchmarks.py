"""configs/clip/retrieval_{coco,flickr30k}.yaml: a CLIP is evaluated and unlearned on files in their formats."""

from __future__ import annotations

import json

import pytest

import evaluate
import unlearn
from lavis.settings.config import load_config
from lavis.synthetic.scenes.layout import ensure
from tests.hub.folders import PLAIN, open_clip_folder
from tests.processes import ROOT

SETS = {"coco": ("coco_retrieval", "coco_retrieval"), "flickr30k": ("flickr30k", "flickr30k_retrieval")}


@pytest.mark.parametrize("kind", SETS)
def test_a_clip_on_files_of_that_format(tmp_path, kind):
    name, task = SETS[kind]
    root, lists = tmp_path / "data", tmp_path / "Df"
    ensure(kind, root, lists, "tiny", 42, False)
    config = ROOT / f"configs/clip/retrieval_{kind}.yaml"
    info = f"datasets.{name}.build_info"
    options = [f"{info}.images.storage={root / 'images'}", f"datasets.{name}.forget_list={lists}/image-{{seed}}.txt"]
    for split in load_config(config).dataset.build_info.annotations:
        (file,) = (root / "annotations").glob(f"*{split}.json")
        options.append(f"{info}.annotations.{split}.storage=[{file}]")
    source = open_clip_folder(tmp_path / "model", PLAIN)
    options += [f"model.model_type={source}", f"run.output_dir={tmp_path / 'out'}", "run.num_workers=0"]
    options += ["run.batch_size_train=8", "run.max_epoch=1", "run.device=cpu", "run.df_size=8"]
    words = ["--cfg-path", str(config), "--options", *options]
    assert evaluate.main([*words, f"run.checkpoint={tmp_path / 'model' / 'open_clip_model.safetensors'}"]) == 0
    flags = ["--unlearn_method", "erase", "--backbone", "clip", "--task", task, "--df_size", "8"]
    assert unlearn.main([*flags, *words]) == 0
    found = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("results.json")]
    assert len(found) == 2 and all("test_txt_r1" in results["metrics"] for results in found)
