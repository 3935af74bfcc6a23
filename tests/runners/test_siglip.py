"""Models with a logit bias are trained with the sigmoid loss, in one process and in two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from lavis.common.checkpoint import load_checkpoint, load_file
from lavis.common.features import PairFeatures
from lavis.losses.sigmoid import sigmoid_loss
from lavis.models.clip import ClipModel
from lavis.settings.schema import ModelConfig
from tests.hub.folders import SIGLIP, open_clip_folder
from tests.processes import run
from tests.small import SmallWorld, write_world

KEYS = {"batch_size_train": 8, "max_epoch": 1, "init_lr": 1e-3, "adam_eps": 1e-3, "evaluate_after": False}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> SmallWorld:
    found = write_world(tmp_path_factory.mktemp("siglip"), run_keys=KEYS)
    content = yaml.safe_load(found.config.read_text())
    source = open_clip_folder(found.path / "model", SIGLIP)
    content["model"] = {"arch": "clip", "model_type": source}
    content["datasets"]["salmu"]["vis_processor"] = {stage: {"name": "clip_image_eval"} for stage in ("train", "eval")}
    found.config.write_text(yaml.safe_dump(content))
    return found


def trained(world: SmallWorld, command: list[str], out: Path, processes: int) -> tuple[dict, dict]:
    """Weights at the end, and the record of the epoch."""
    done = run([*command, f"run.output_dir={out}"], processes)
    assert done.returncode == 0, done.stderr
    (folder,) = [path.parent for path in out.rglob("checkpoint_0.pth")]
    record = json.loads((folder / "log.txt").read_text().splitlines()[-1])
    return load_checkpoint(folder / "checkpoint_0.pth")["model"], record


@pytest.mark.parametrize("method", ["original", "ft", "retrain", "neggrad", "cliperase", "shuffled"])
def test_two_processes_equal_one(world, tmp_path, method) -> None:
    found = []
    for processes, size, gather in ((1, 8, False), (2, 4, True)):
        options = (f"run.batch_size_train={size}", f"run.gather_similarity={gather}")
        words = world.command("train.py", options=options) if method == "original" else None
        words = words or world.unlearn(method, options=options)
        found.append(trained(world, words, tmp_path / str(processes), processes))
    (one, first), (two, second) = found
    assert max((one[name] - two[name]).abs().max().item() for name in one) <= 1e-6
    assert first["train_loss"] == pytest.approx(second["train_loss"], abs=1e-5)
    source = world.path / "model" / "open_clip_model.safetensors"
    start = -10.0 if method == "retrain" else load_file(source)["logit_bias"].item()
    learns = method in ("original", "ft", "retrain", "shuffled")
    assert (one["logit_bias"].item() != start) == learns


def test_the_objective_is_the_sigmoid_loss(tmp_path) -> None:
    model = ClipModel.from_config(ModelConfig(pretrained=open_clip_folder(tmp_path, SIGLIP))).eval()
    draws = torch.Generator().manual_seed(0)
    pairs = PairFeatures(*(torch.randn(4, 16, generator=draws) for _ in "it"))
    terms = model.pair_objective(pairs, None)
    expected = sigmoid_loss(pairs, model.clip.logit_scale.exp(), model.clip.logit_bias)
    assert list(terms) == ["sigmoid"] and terms["sigmoid"].item() == expected.item()


def test_a_large_temperature_is_left_alone(tmp_path) -> None:
    """SigLIP's published scales exceed 100."""
    model = ClipModel.from_config(ModelConfig(pretrained=open_clip_folder(tmp_path, SIGLIP)))
    with torch.no_grad():
        model.clip.logit_scale.fill_(5.0)
    model.clamp_scale()
    assert model.clip.logit_scale.item() == 5.0
