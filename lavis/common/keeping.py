"""Keeps files that new ones would replace, under another name: results.json becomes results.<key>.json."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lavis.common.errors import DataError
from lavis.common.files import file_digest, plain, read_json

log = logging.getLogger(__name__)


def set_aside(path: Path, key: str = "") -> Path:
    """Rename a file and return its new path.

    key: "": a digest of its content, so that the same content is kept once.
    """
    kept = path.with_name(f"{path.stem}.{key or file_digest(path)[:16]}{path.suffix}")
    path.replace(kept)
    return kept


def keep_unlike(path: Path, content: Any) -> None:
    """Rename a JSON file that has another content than what will replace it; a warning gives its new name."""
    if not path.is_file():
        return
    try:
        same = read_json(path, "former file") == plain(content)
    except DataError:
        same = False
    if not same:
        log.warning("the former %s is kept as %s", path, set_aside(path).name)
