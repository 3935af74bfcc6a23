"""Runs of unlearn.py that tests interrupt: their command, their folder, waiting for them, comparing their weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from lavis.common.checkpoint import load_checkpoint
from tests.processes import Started
from tests.small import SmallWorld

LONG = ("run.max_epoch=20", "run.save_freq_steps=3", "run.evaluate_after=false", "run.accum_grad_iters=1")
BEST = "checkpoint_best.pth"


def command(world: SmallWorld, name: str, *options: str) -> list[str]:
    """Unlearning with many checkpoints into `folder(world, name)`; later options override LONG."""
    original = f"run.resume_ckpt_path={world.output / 'original/clip/salmu_retrieval' / BEST}"
    return world.unlearn("vlul", options=(*LONG, original, f"run.output_dir={world.path / name}", *options))


def folder(world: SmallWorld, name: str) -> Path:
    return world.path / name / "unlearn-vlul" / "clip" / "salmu_retrieval" / "16"


def wait_for(process: Started, what: Callable[[], object], seconds: float = 120) -> None:
    """Wait until `what()` is true; fails with the process's errors if it ends first or takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if what():
            return
        time.sleep(0.002)
    process.kill()
    raise AssertionError(process.communicate()[1])


def same_weights(a: Path, b: Path) -> bool:
    one, two = (load_checkpoint(part / BEST)["model"] for part in (a, b))
    return all(torch.equal(one[name], two[name]) for name in one)
