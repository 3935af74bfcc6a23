"""A configuration inside a checkpoint is not the user's own: nothing in it is resolved."""

from __future__ import annotations

import pytest
import torch

import lavis
from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import CheckpointError
from lavis.tasks.checkpoints import checkpoint_config


@pytest.mark.parametrize("place", ["model", "run"])
def test_a_checkpoint_cannot_read_the_environment(unlearned, monkeypatch, tmp_path, place):
    monkeypatch.setenv("SECRET", "hunter2")
    folder = unlearned("erase")
    content = load_checkpoint(folder / "checkpoint_best.pth")
    content["config"][place]["deep"] = {"list": ["${oc.env:SECRET}"]}
    torch.save(content, tmp_path / "hostile.pth")
    for read in (checkpoint_config, lavis.evaluate):
        with pytest.raises(CheckpointError, match="in its configuration"):
            read(tmp_path / "hostile.pth")


def test_a_list_in_place_of_a_configuration_is_no_configuration(unlearned, tmp_path):
    content = load_checkpoint(unlearned("erase") / "checkpoint_best.pth")
    for bad in ([1], {"run": [1], "model": 3}, 7):
        torch.save(content | {"config": bad}, tmp_path / "odd.pth")
        assert checkpoint_config(tmp_path / "odd.pth") == {}
