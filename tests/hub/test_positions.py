"""Position tables of other lengths: resampled and said once, or refused before any work where they are far apart."""

from __future__ import annotations

import time

import pytest
import torch

from lavis.common.errors import CheckpointError
from lavis.common.registry import registry
from lavis.settings.config import load_config
from tests import fused
from tests.small import write_world


@pytest.fixture
def clip(tmp_path):
    world = write_world(tmp_path / "world")
    config = load_config(world.config).model
    return registry.get_model_class("clip").from_config(config)


def saved(model, path, **tables):
    torch.save({"model": {**model.checkpoint_state(), **tables}}, path)
    return path


@pytest.mark.parametrize("name", ["visual.positional_embedding", "positional_embedding"])
def test_clip_refuses_a_table_of_quite_another_length_at_once(clip, tmp_path, name):
    width = clip.checkpoint_state()[name].shape[1]
    path = saved(clip, tmp_path / "far.pth", **{name: torch.zeros(1, width).expand(2_000_001, width)})
    began = time.monotonic()
    with pytest.raises(CheckpointError, match=f"{name} has 2000001 positions.*too far apart"):
        clip.load_weights(path)
    assert time.monotonic() - began < 5


def test_clip_says_once_that_a_table_was_resampled(clip, tmp_path, caplog):
    table = clip.checkpoint_state()["visual.positional_embedding"]
    clip.load_weights(
        saved(clip, tmp_path / "near.pth", **{"visual.positional_embedding": torch.randn(10, table.shape[1])})
    )
    assert len([text for text in caplog.messages if "resampled from 10 to 5 positions" in text]) == 1


@pytest.fixture
def albef(tmp_path):
    world = fused.write_world(tmp_path, "albef", "coco")
    config = load_config(world.config).model
    return registry.get_model_class(config.arch).from_config(config)


def test_albef_refuses_a_table_of_quite_another_length_at_once(albef, tmp_path):
    width = albef.state_dict()["visual_encoder.pos_embed"].shape[2]
    table = torch.zeros(1, 1, width).expand(1, 1_000_001, width)
    with pytest.raises(CheckpointError, match=r"visual_encoder.pos_embed has 1000001 positions.*too far apart"):
        albef.load_weights(saved(albef, tmp_path / "far.pth", **{"visual_encoder.pos_embed": table}))


def test_albef_says_once_that_its_tables_were_resampled(albef, tmp_path, caplog):
    tables = {name: value for name, value in albef.state_dict().items() if name.endswith("pos_embed")}
    side = round((next(iter(tables.values())).shape[1] - 1) ** 0.5) + 1
    larger = {name: torch.randn(1, 1 + side * side, value.shape[2]) for name, value in tables.items()}
    albef.load_weights(saved(albef, tmp_path / "near.pth", **larger))
    assert len([text for text in caplog.messages if "resampled" in text]) == 1 and len(tables) == 2
