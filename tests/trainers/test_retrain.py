"""Retraining: CLIP's loss from untrained weights; with the original settings it equals the reference `retrained`."""

from __future__ import annotations

import pytest
import torch

from lavis.common.checkpoint import load_checkpoint
from lavis.tasks.entry import train

FAST = ("run.evaluate_after=false",)


def weights(folder) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder / "checkpoint_best.pth")["model"]


@pytest.mark.parametrize("holdouts", [(), ("run.train_on_holdout=true", "run.max_epoch=1")], ids=["plain", "holdouts"])
def test_weights_are_those_of_the_reference(unlearn, trained_world, tmp_path, holdouts):
    folder = unlearn("retrain", *FAST, *holdouts, name="holdouts" if holdouts else "plain")
    options = [
        *FAST,
        *holdouts,
        "run.reference=retrained",
        "run.df_size=16",
        f"run.output_dir={tmp_path / 'reference'}",
    ]
    train(str(trained_world.config), options)
    expected = weights(tmp_path / "reference" / "retrained" / "clip" / "salmu_retrieval" / "16")
    actual = weights(folder)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_the_original_model_is_not_read(unlearn, tmp_path):
    """Steps of size zero keep the untrained weights, with or without an original model."""
    folder = unlearn("retrain", *FAST, "run.init_lr=0", "run.max_epoch=1", "run.resume_ckpt_path=null", name="none")
    other = unlearn("retrain", *FAST, "run.init_lr=0", "run.max_epoch=1", name="given")
    one, two = weights(folder), weights(other)
    assert all(torch.equal(one[name], two[name]) for name in one)
