"""What a checkpoint is called, and which run wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lavis.common.checkpoint import load_file, weights_of


def checkpoint_label(path: str | Path) -> str:
    """A checkpoint's name: that of its file without suffix, or of its folder if the file has open_clip's name."""
    path = Path(path)
    return path.parent.name if path.stem.startswith("open_clip") else path.stem


def checkpoint_origin(path: str | Path) -> dict[str, Any]:
    """The `run` settings in a checkpoint of this project; empty for other files."""
    return dict(checkpoint_config(path).get("run", {}))


def checkpoint_config(path: str | Path) -> dict[str, Any]:
    """The configuration (model, datasets, run) in a checkpoint of this project; empty for other files."""
    if not Path(path).is_file():
        return {}  # a hub name or a folder: the model checks whether it exists
    content = load_file(path, lazily=True)
    weights_of(content, path)
    config = content.get("config") if isinstance(content, dict) else None
    return dict(config) if isinstance(config, dict) else {}
