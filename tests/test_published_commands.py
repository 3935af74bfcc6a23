"""The published commands, word for word, on JPEG files in the real layout with ViT-B-16 (slow: minutes, 10 GB)."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lavis.models.clip import ClipModel
from lavis.settings.schema import ModelConfig
from tests.processes import ROOT, free_port

FORGET, RETAIN = 30_468, 64
COMMAND = (
    "python -m torch.distributed.run --master_port 29517 --nproc_per_node=1 unlearn.py --unlearn_method {method} "
    "--backbone clip --task salmu_retrieval --df_size 30468 --cfg-path configs/clip/retrieval_salmu.yaml"
)
# One step of the first epoch, and eight pairs of every split: the rest would only repeat them.
QUICK = (
    "run.device=cpu run.max_epoch=1 run.num_workers=0 run.max_steps_per_epoch=1 run.eval_max_pairs=8 "
    "run.batch_size_eval=8 run.keep_last=1"
)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A working folder with the scripts, SALMU's folders and an original model."""
    here = tmp_path_factory.mktemp("published")
    for name in ("unlearn.py", "configs", "lavis"):
        (here / name).symlink_to(ROOT / name)
    _write_salmu(here / "data" / "lavis_cache" / "salmu", here / "data" / "Df" / "salmu")
    original = here / "output" / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    original.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save({"state_dict": ClipModel.from_config(ModelConfig(model_type="ViT-B-16")).checkpoint_state()}, original)
    return here


def _write_salmu(root: Path, lists: Path) -> None:
    counts = {"forget": FORGET, "retain_synth": RETAIN, "test": 16, "holdout_identity": 16, "holdout_association": 16}
    rows = {split: _draw(root / "images", split, n) for split, n in counts.items()}
    rows["train"] = rows["forget"] + rows.pop("retain_synth")
    lists.mkdir(parents=True)
    (lists / "image-42.txt").write_text("".join(row["image"] + "\n" for row in rows.pop("forget")))
    (root / "annotations").mkdir()
    for split, found in rows.items():
        (root / "annotations" / f"{split}.json").write_text(json.dumps(found))


def _draw(images: Path, split: str, count: int) -> list[dict]:
    """`count` file names over 16 different 512-pixel images (links beyond those)."""
    folder = images / split
    folder.mkdir(parents=True)
    rows = []
    for number in range(count):
        name = f"{number:08d}_002_ar-0.76.jpg"
        if number < 16:
            noise = np.random.default_rng([len(split), number]).integers(0, 256, (512, 389, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / name)
        else:
            os.link(folder / f"{number % 16:08d}_002_ar-0.76.jpg", folder / name)
        rows.append({"image": f"{split}/{name}", "caption": [f"person {number} lives at {split} street {number}"]})
    return rows


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("method", ["vlul", "erase", "delete"])
def test_published_command_runs_and_leaves_every_output(workplace, method):
    words = shlex.split(COMMAND.format(method=method).replace("29517", str(free_port())))
    command = [sys.executable, *words[1:], "--options", *QUICK.split()]
    done = subprocess.run(command, cwd=workplace, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stderr
    folder = workplace / "output" / f"unlearn-{method}" / "clip" / "salmu_retrieval" / "30468"
    names = {path.name for path in folder.iterdir()}
    assert {"checkpoint_best.pth", "log.txt", "evaluate.txt", "result", "results.json"} <= names
    assert "checkpoint_0.pth" not in names
    log = [json.loads(line) for line in (folder / "log.txt").read_text().splitlines()]
    assert log[0]["config"]["model"]["model_type"] == "ViT-B-16"
    assert log[1]["train_loss"] > 0
    assert {"test_txt_r1", "df_txt_r1", "dr_img_r10", "mia_auc", "holdout_identity_cosine"} <= set(log[2])
