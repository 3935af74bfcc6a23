"""What of a configuration may leave the run folder: no path, no column, no condition, nobody's name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from lavis.settings.declaration import NOTHING, declared
from lavis.settings.schema import RunConfig

PATHS = {"resume_ckpt_path", "imagenet", "zero_shot"}


def shareable(run: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a plain `run` section that weights or numbers depend on, without paths and names of data."""
    known = declared(RunConfig)
    return {k: v for k, v in run.items() if k in known and known[k].about.affects != NOTHING and k not in PATHS}


def shareable_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a plain configuration: `shareable` settings, the model's with the last part of each path, the data's name."""
    model = {name: PurePath(value).name if isinstance(value, str) else value for name, value in config["model"].items()}
    return {"model": model, "datasets": list(config["datasets"]), "run": shareable(config["run"])}
