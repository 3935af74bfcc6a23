"""A small world for whole runs: noise JPEGs in SALMU's real layout, a CLIP of 20,000 parameters, a configuration."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from tests.processes import ROOT

ARCH = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
COUNTS = {"forget": 16, "retain_synth": 24, "test": 8, "holdout_identity": 6, "holdout_association": 6}


@dataclass
class SmallWorld:
    """Paths of a small world; `config` is its YAML."""

    path: Path
    config: Path
    output: Path
    forget_list: Path
    images: Path
    notes: Path

    def command(self, script: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
        return [sys.executable, str(ROOT / script), *words, "--cfg-path", str(self.config), *_options(options)]

    def unlearn(self, method: str = "vlul", df_size: int = 16, options: tuple[str, ...] = ()) -> list[str]:
        words = [
            "--unlearn_method",
            method,
            "--backbone",
            "clip",
            "--task",
            "salmu_retrieval",
            "--df_size",
            str(df_size),
        ]
        return self.command("unlearn.py", *words, options=options)

    def folder(self, method: str = "vlul", df_size: int = 16) -> Path:
        return self.output / f"unlearn-{method}" / "clip" / "salmu_retrieval" / str(df_size)


def _options(options: tuple[str, ...]) -> list[str]:
    return ["--options", *options] if options else []


def write_world(
    path: Path, counts: dict[str, int] | None = None, run_keys: dict | None = None, layers: int = 1
) -> SmallWorld:
    """Noise JPEGs under images/<split>/, annotations, the forget list, and a configuration that trains on CPU.

    layers: how many blocks each tower has.
    """
    images, notes = path / "images", path / "annotations"
    notes.mkdir(parents=True)
    items = {split: _draw(images, split, n) for split, n in (counts or COUNTS).items()}
    forget = path / "Df" / "image-42.txt"
    forget.parent.mkdir()
    forget.write_text("".join(f"{item['image']}\n" for item in items["forget"]))
    items["train"] = items.pop("forget") + items.pop("retain_synth")
    for split, rows in items.items():
        (notes / f"{split}.json").write_text(json.dumps(rows))
    world = SmallWorld(path, path / "config.yaml", path / "output", forget, images, notes)
    world.config.write_text(yaml.safe_dump(_config(world, list(items), run_keys or {}, layers)))
    return world


def _draw(images: Path, split: str, n: int) -> list[dict]:
    rows = []
    for i in range(n):
        name = f"{split}/{i:08d}_{split[:3]}.jpg"
        (images / split).mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng([len(split), i]).integers(0, 256, (24, 20, 3), dtype=np.uint8)
        Image.fromarray(noise).save(images / name, quality=95)
        rows.append({"image": name, "caption": [f"{split} number {i}"] if i % 2 else f"{split} number {i}"})
    return rows


def _config(world: SmallWorld, splits: list[str], run_keys: dict, layers: int) -> dict:
    arch = world.path / "small_clip.json"
    towers = {name: {**ARCH[name], "layers": layers} for name in ("vision_cfg", "text_cfg")}
    arch.write_text(json.dumps({**ARCH, **towers}))
    stage = {"name": "clip_image_eval", "image_size": 16}
    info = {
        "images": {"storage": str(world.images)},
        "annotations": {s: {"storage": [str(world.notes / f"{s}.json")]} for s in splits},
    }
    dataset = {
        "vis_processor": {"train": stage, "eval": stage},
        "build_info": info,
        "forget_list": str(world.forget_list.parent / "image-{seed}.txt"),
    }
    run_section = {
        "device": "cpu",
        "num_workers": 0,
        "batch_size_train": 8,
        "batch_size_eval": 8,
        "max_epoch": 2,
        "init_lr": 1e-3,
        "output_dir": str(world.output),
        "keep_training_state": True,  # tests look at them, and resume from them
        **run_keys,
    }
    return {
        "model": {"arch": "clip", "model_type": str(arch)},
        "datasets": {"salmu": dataset},
        "run": run_section,
    }
