"""Architectures by name at their full size: a step of unlearning on SALMU-tiny, or one message that says why not."""

from __future__ import annotations

import json
import os
import sys

import pytest

from tests.processes import ROOT, run
from tests.tiny import CONFIG, draw_tiny

NAMES = ("RN50", "convnext_base", "coca_ViT-B-32", "EVA02-B-16", "ViT-B-16-SigLIP", "ViT-H-14-378-quickgelu")
GIB = 2**30


def memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", NAMES)
def test_a_step_or_one_message(tmp_path, name):
    if "ViT-H" in name and memory() < 60:
        pytest.skip(f"needs about 40 GiB for weights, gradients, moments and the teacher; there are {memory():.0f}")
    options = [*draw_tiny(tmp_path), f"model.model_type={name}", f"run.output_dir={tmp_path / 'out'}"]
    options += ["run.max_epoch=1", "run.max_steps_per_epoch=1", "run.batch_size_train=4", "run.device=cpu"]
    options += ["run.eval_max_pairs=4", "run.batch_size_eval=4", "run.metrics=[retrieval]", "run.teacher_cache=none"]
    train = [sys.executable, str(ROOT / "train.py"), "--cfg-path", str(CONFIG), "--options", *options]
    done = run([*train, "run.evaluate_after=false"])
    if done.returncode == 2:
        assert done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr, done.stderr
        return
    assert done.returncode == 0, done.stderr
    words = ["--unlearn_method", "erase", "--backbone", "clip", "--task", "salmu_tiny_retrieval", "--df_size", "4"]
    unlearn = [sys.executable, str(ROOT / "unlearn.py"), *words, "--cfg-path", str(CONFIG), "--options", *options]
    done = run(unlearn)
    assert done.returncode == 0, done.stderr
    (results,) = (tmp_path / "out").rglob("unlearn-erase/**/results.json")
    assert "df_txt_r1" in json.loads(results.read_text())["metrics"]
