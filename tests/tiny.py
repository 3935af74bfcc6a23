"""A drawn SALMU-tiny for tests, and an untrained CLIP of its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lavis.common.registry import registry
from lavis.settings.config import load_config
from lavis.synthetic.mini.layout import ensure

CONFIG = "configs/clip/retrieval_salmu_tiny.yaml"


def draw_tiny(root: Path) -> list[str]:
    """Draw the data set below `root`; returns the options that name its files."""
    ensure(root / "tiny", root / "lists", "tiny", 42)
    data = "datasets.salmu_tiny"
    keys = [f"{data}.build_info.images.storage={root / 'tiny' / 'images'}"]
    keys += [f"{data}.forget_list={root / 'lists' / 'image-{seed}.txt'}"]
    for split in ("train", "val", "test", "holdout_identity", "holdout_association"):
        keys.append(f"{data}.build_info.annotations.{split}.storage=[{root / 'tiny' / 'annotations' / split}.json]")
    return keys


def save_untrained(keys: list[str], path: Path) -> Any:
    """A CLIP with random weights, saved to `path`."""
    torch.manual_seed(0)
    model = registry.get_model_class("clip").from_config(load_config(CONFIG, keys).model, load_pretrained=False)
    torch.save({"model": model.clip.state_dict()}, path)
    return model
