"""A small data set on disk: noise images in SALMU's folders, annotations, a forget list."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from lavis.settings.data_schema import DatasetConfig
from lavis.settings.schema import RunConfig
from lavis.settings.validation import build

SIZE = 12


def save_image(path: Path, seed: int, size: int = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def world(tmp_path):
    """10 forget, 20 retain_synth, 6 test, 4 images per holdout; train = forget + retain_synth."""
    root, notes = tmp_path / "images", tmp_path / "annotations"
    counts = {"forget": 10, "retain_synth": 20, "test": 6, "holdout_identity": 4, "holdout_association": 4}
    items: dict[str, list[dict]] = {}
    for k, (split, n) in enumerate(counts.items()):
        items[split] = [
            {"image": f"{split}/{i:03d}.png", "caption": f"{split} {i}", "identity_id": i} for i in range(n)
        ]
        for i, item in enumerate(items[split]):
            save_image(root / item["image"], 100 * k + i)
    items["train"] = items.pop("forget") + items.pop("retain_synth")
    notes.mkdir()
    for split, rows in items.items():
        (notes / f"{split}.json").write_text(json.dumps(rows))
    forget = tmp_path / "Df" / "image-42.txt"
    forget.parent.mkdir()
    forget.write_text("".join(f"forget/{i:03d}.png\n" for i in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)))
    return SimpleNamespace(path=tmp_path, root=root, notes=notes, forget=forget, items=items)


@pytest.fixture
def configure(world):
    """`configure(**run)` gives (dataset config, run config) for the world on disk."""

    def make(**run):
        splits = ("train", "val", "test", "holdout_identity", "holdout_association")
        layer = {
            "vis_processor": {
                "train": {"name": "clip_image_train", "image_size": 8},
                "eval": {"name": "clip_image_eval", "image_size": 8},
            },
            "text_processor": {"train": {"name": "clip_caption"}, "eval": {"name": "clip_caption"}},
            "build_info": {
                "images": {"storage": str(world.root)},
                "annotations": {s: {"storage": [str(world.notes / f"{s}.json")]} for s in splits},
            },
            "forget_list": str(world.path / "Df" / "image-{seed}.txt"),
        }
        return build(DatasetConfig, layer, "datasets.noise"), build(RunConfig, run, "run")

    return make
