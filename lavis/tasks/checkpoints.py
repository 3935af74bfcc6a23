"""Checkpoints: what one is called, which run wrote it, and from which a run starts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lavis.common.checkpoint import load_file, weights_of
from lavis.common.errors import CheckpointError, MissingFile
from lavis.common.logger import get_logger
from lavis.common.registry import registry
from lavis.models.base import BaseModel
from lavis.runners.run_dir import original_checkpoint
from lavis.settings.config import Config
from lavis.settings.schema import ModelConfig


def checkpoint_label(path: str | Path) -> str:
    """A checkpoint's name: that of its file without suffix, or of its folder if the file has open_clip's name."""
    path = Path(path)
    return path.parent.name if path.stem.startswith("open_clip") else path.stem


def checkpoint_origin(path: str | Path) -> dict[str, Any]:
    """The `run` settings in a checkpoint of this project; empty for other files."""
    return dict(checkpoint_config(path).get("run", {}))


def checkpoint_config(path: str | Path) -> dict[str, Any]:
    """The configuration (model, datasets, run) in a checkpoint of this project; empty for other files.

    Sections that are no sections (in a damaged or hostile file) are left out. Raises CheckpointError for a value with
    an interpolation (`${oc.env:NAME}` would read the user's environment): ours are resolved before they are saved.
    """
    if not Path(path).is_file():
        return {}  # a hub name or a folder: the model checks whether it exists
    content = load_file(path, lazily=True)
    weights_of(content, path)
    config = content.get("config") if isinstance(content, dict) else None
    sections = config.items() if isinstance(config, dict) else ()
    found = {name: section for name, section in sections if isinstance(section, dict)}
    if _interpolates(found):
        raise CheckpointError(f"checkpoint {path} has ${{…}} in its configuration, which no run of this project writes")
    return found


def _interpolates(node: Any) -> bool:
    """Whether any text in a configuration contains what OmegaConf would resolve."""
    if isinstance(node, Mapping):
        return any(_interpolates(part) for item in node.items() for part in item)
    if isinstance(node, list | tuple):
        return any(map(_interpolates, node))
    return isinstance(node, str) and "${" in node


def starting_weights(config: Config) -> str:
    """The weights from which unlearning starts. Raises MissingFile if there are none."""
    own = original_checkpoint(config.run, config.backbone, config.job_name)
    named = registry.get_model_class(config.model.arch).weights_source(config.model)
    start = config.run.resume_ckpt_path or (str(own) if own.exists() else named)
    if not start:
        raise MissingFile(
            f"original model {own} does not exist; train it with `bash bash/ori.sh {config.source}`, or name a "
            "checkpoint: --options run.resume_ckpt_path=<file> (or model.pretrained=hf-hub:<name>)"
        )
    return start


def log_start(config: Config, start: str) -> None:
    """Log which weights unlearning starts from."""
    own = original_checkpoint(config.run, config.backbone, config.job_name)
    if start == str(own) and config.model.pretrained:
        get_logger().info("model.pretrained is not used because the original model %s exists", own)
    get_logger().info("Unlearning starts from %s", start)


def load_model(config: ModelConfig, checkpoint: str | Path, device: torch.device | str = "cpu") -> BaseModel:
    """The configured model with the weights of a checkpoint, in eval mode."""
    model_class = registry.get_model_class(config.arch)
    recipe = model_class.recipe_of(config, str(checkpoint))
    model = model_class.from_config(config, recipe=recipe, load_pretrained=False)
    model.load_weights(checkpoint)
    return model.to(device).eval()
