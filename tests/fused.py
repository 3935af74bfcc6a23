"""Whole runs of small ALBEF and BLIP models on drawn scenes of the size `tiny`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from lavis.common.registry import registry
from lavis.settings.config import load_config
from lavis.synthetic.scenes.layout import ensure
from lavis.tasks.entry import train, unlearn

ROOT = Path(__file__).resolve().parents[1]
MINI = ROOT / "configs" / "original"
FILES = {"coco": "retrieval_coco", "vqa": "vqa", "nlvr": "nlvr", "snli_ve": "snli_ve"}
SMALLER = {"image_size": 32, "patch_size": 16, "vision_width": 32, "vision_depth": 1, "vision_heads": 2}
SMALLER |= {"text_width": 32, "text_heads": 2, "text_ffn": 32, "dropout": 0.1}
RUN = {"device": "cpu", "df_size": 8, "batch_size_train": 8, "batch_size_eval": 32, "max_epoch": 2, "warmup_steps": 0}
RUN |= {"lr_sched": "linear_warmup_cosine_lr", "init_lr": 1e-3, "k_test": 4, "eval_max_pairs": 12}
RUN |= {"max_steps_per_epoch": 2, "seed": 3, "num_workers": 0}


@dataclass
class FusedWorld:
    """A configuration of one family and data set, and the folder of its runs."""

    config: Path
    family: str
    job: str
    output: Path

    def train(self, *options: str) -> Path:
        """Train the original model; returns its folder."""
        train(str(self.config), list(options))
        return self.output / "original" / self.family / self.job

    def unlearn(self, method: str, *options: str) -> Path:
        """Unlearn from the original model, or from the file named in the options; returns the run folder."""
        flags = {"method": method, "df_size": None, "alpha": None}
        unlearn(str(self.config), list(options), self.family, self.job, flags)
        return self.output / f"unlearn-{method}" / self.family / self.job / "8"

    def command(self, method: str) -> list[str]:
        flags = ["--unlearn_method", method, "--backbone", self.family, "--task", self.job, "--df_size", "8"]
        return ["unlearn.py", *flags, "--cfg-path", str(self.config)]

    def untrained(self) -> Path:
        """Save random weights; returns the file."""
        config = load_config(self.config)
        torch.manual_seed(0)
        model = registry.get_model_class(config.model.arch).from_config(config.model)
        path = self.config.with_suffix(".pth")
        torch.save({"model": model.checkpoint_state()}, path)
        return path


def write_world(path: Path, family: str, data: str, **run: Any) -> FusedWorld:
    """Write the miniature's configuration, with an even smaller model, and draw its scenes below `path`."""
    path.mkdir(parents=True, exist_ok=True)
    root, lists = path / data, path / "Df" / data
    ensure(data, root, lists, "tiny", 42)
    content = yaml.safe_load((MINI / family / "mini" / f"{FILES[data]}.yaml").read_text())
    content["model"].pop("pretraining", None)
    content["model"] |= SMALLER | {"tokenizer": str(root / "tokenizer")}
    if "queue_size" in content["model"]:
        content["model"] |= {"queue_size": 12, "embed_dim": 8}
    name = f"{data}_tiny"
    content["datasets"] = {name: _dataset(root, lists, name)}
    same = {key: content["run"][key] for key in ("task", "attention")}
    content["run"] = {**same, **RUN, "output_dir": str(path / f"output-{family}"), **run}
    config = path / f"{family}_{data}.yaml"
    config.write_text(yaml.safe_dump(content))
    return FusedWorld(config, family, load_config(config).job_name, path / f"output-{family}")


def _dataset(root: Path, lists: Path, name: str) -> dict[str, Any]:
    """The package's defaults with the files of this world."""
    defaults = (ROOT / "lavis" / "configs" / "datasets" / name / "defaults.yaml").read_text()
    here = defaults.replace(f"data/lavis_cache/{name}", str(root)).replace(f"data/Df/{name}", str(lists))
    content = yaml.safe_load(here)
    for stage in content["vis_processor"].values():
        stage["image_size"] = SMALLER["image_size"]
    return content
