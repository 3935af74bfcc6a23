"""Retraining: CLIP's loss from untrained weights; with the original's settings it is the reference `retrained`."""

from __future__ import annotations

import torch

from lavis.common.checkpoint import load_checkpoint
from lavis.tasks.entry import train

FAST = ("run.evaluate_after=false",)


def weights(folder) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoint_best.pth")["model"]


def test_weights_are_those_of_the_reference(unlearn, trained_world, tmp_path):
    folder = unlearn("retrain", *FAST)
    options = [*FAST, "run.reference=retrained", "run.df_size=16", f"run.output_dir={tmp_path / 'reference'}"]
    train(str(trained_world.config), options)
    expected = weights(tmp_path / "reference" / "retrained" / "clip" / "salmu_retrieval" / "16")
    found = weights(folder)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_original_model_is_not_read(unlearn, tmp_path):
    """Steps of size zero leave the untrained weights, and no original model need exist."""
    folder = unlearn("retrain", *FAST, "run.init_lr=0", "run.max_epoch=1", "run.resume_ckpt_path=null", name="none")
    other = unlearn("retrain", *FAST, "run.init_lr=0", "run.max_epoch=1", name="given")
    one, two = weights(folder), weights(other)
    assert all(torch.equal(one[name], two[name]) for name in one)
