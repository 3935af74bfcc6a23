"""Checkpoints with changed weights."""

from __future__ import annotations

from pathlib import Path

import torch


def copy_of(world, path: Path, change) -> Path:
    """The small world's original model with changed weights."""
    start = world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    state = torch.load(start, weights_only=True)["model"]
    change(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": state}, path)
    return path


def collapse(state) -> None:
    state["visual.proj"].zero_()
    state["text_projection"].zero_()
