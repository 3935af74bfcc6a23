"""Generated data sets, written when they are first needed, completely or not at all.

A data set is written to `<root>.partial` and renamed at the end, under a lock that the kernel frees when the process
ends, even if it is killed. Other processes that need the same data set wait and use the result.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavis.common.errors import ConfigError, DataError
from lavis.common.files import read_json
from lavis.common.forget_list import FORGET_SEEDS, list_path
from lavis.common.locks import lock


@dataclass(frozen=True)
class Recipe:
    """How to write a data set, and how to recognise it.

    Attributes:
        label: its name in messages.
        identity: entries of manifest.json that must match (version, size, seed, ...).
        command: the command that replaces another data set by this one, for messages.
        write: fills an empty folder, including manifest.json.
        write_lists: called with (root, folder), writes the forget lists: `list_path` for each of FORGET_SEEDS.
    """

    label: str
    identity: dict[str, Any]
    command: str
    write: Callable[[Path], None]
    write_lists: Callable[[Path, Path], None]


def ensure(root: Path, lists: Path, recipe: Recipe, force: bool = False) -> bool:
    """Write the recipe's data set to `root` and its forget lists to `lists` unless they exist.

    Returns True if the data set was written; `force` replaces an existing one. Raises ConfigError if `root` contains
    another data set of this kind, and DataError if it contains something else.
    """
    if not force and _complete(root, recipe) and _has_lists(lists):
        return False  # nothing to write, so a disk that is read-only will do
    with lock(root.with_name(f".{root.name}.lock"), wait=True):
        missing = not _complete(root, recipe, force)
        if missing:
            _write(root, recipe)
        if missing or not _has_lists(lists):
            recipe.write_lists(root, lists)
        return missing


def _has_lists(lists: Path) -> bool:
    return all(list_path(lists, seed).is_file() for seed in FORGET_SEEDS)


def _complete(root: Path, recipe: Recipe, force: bool = False) -> bool:
    """Whether the data set exists. Raises an error if something else is in its place.

    `force` allows replacing a generated data set, but never other files.
    """
    if root.is_symlink() and not root.exists():
        raise DataError(f"{root} is a link to {os.readlink(root)}, which does not exist; delete it, or make the folder")
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    manifest = root / "manifest.json"
    if not manifest.is_file():
        raise DataError(
            f"{root} contains files but no manifest.json, so it is not a {recipe.label}; move it or use another folder"
        )
    if force:
        return False
    content = read_json(manifest, "manifest")
    for key, expected in recipe.identity.items():
        value = content.get(key) if isinstance(content, dict) else None
        if value != expected:
            found = f"{manifest}: {key} is {value!r}, expected {expected!r}"
            raise ConfigError(f"{found}; to replace the data set, run: {recipe.command}")
    return True


def _write(root: Path, recipe: Recipe) -> None:
    partial, previous = root.with_name(f"{root.name}.partial"), root.with_name(f"{root.name}.former")
    for stale in (partial, previous):
        shutil.rmtree(stale, ignore_errors=True)
    recipe.write(partial)
    if root.exists():
        os.rename(root, previous)
    os.rename(partial, root)
    shutil.rmtree(previous, ignore_errors=True)
