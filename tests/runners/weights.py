"""Weights of runs: reading and comparing them, and the folder in which a run goes on that another began."""

from __future__ import annotations

from pathlib import Path

import torch

from lavis.common.checkpoint import load_checkpoint

Weights = dict[str, torch.Tensor]


def weights(folder: Path, name: str = "checkpoint_best.pth") -> Weights:
    return load_checkpoint(folder / name)["model"]


def changed(one: Weights, two: Weights) -> set[str]:
    """The names of the tensors that differ in any bit."""
    assert one.keys() == two.keys()
    return {name for name in one if not torch.equal(one[name], two[name])}


def folder_to_go_on_in(straight: Path, root: Path) -> Path:
    """The folder, made and empty, of a run named "again" below `root`, for the one named "straight" in `straight`."""
    folder = root / "again" / straight.relative_to(root / "straight")
    folder.mkdir(parents=True)
    return folder
