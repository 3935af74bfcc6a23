"""Data sets that are drawn on the spot: they appear whole or not at all.

Everything is written to `<root>.partial` and renamed at the end, under a lock that the kernel frees when a process
ends, however it ends. Processes that ask for the same data set at the same time wait for the first and take what it
wrote.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavis.common.errors import ConfigError, DataError
from lavis.common.files import lock, read_json
from lavis.common.forget_list import FORGET_SEEDS, list_path


@dataclass(frozen=True)
class Recipe:
    """How a data set is made, and how it is told from others.

    Attributes:
        label: what messages call it.
        identity: entries of manifest.json that must match (version, size, seed, ...).
        command: what replaces another data set by this one.
        write: fills an empty folder, manifest.json included.
        write_lists: (root, folder) writes the forget lists, `list_path` for each of FORGET_SEEDS.
    """

    label: str
    identity: dict[str, Any]
    command: str
    write: Callable[[Path], None]
    write_lists: Callable[[Path, Path], None]


def ensure(root: Path, lists: Path, recipe: Recipe, force: bool = False) -> bool:
    """Make sure that the recipe's data set lies under `root` and its forget lists under `lists`.

    Returns True when it was written now; `force` replaces what is there. Raises ConfigError (another identity is
    there) and DataError (the folder holds something else).
    """
    with lock(root.with_name(f".{root.name}.lock"), wait=True):
        missing = not _complete(root, recipe, force)
        if missing:
            _write(root, recipe)
        if missing or not all(list_path(lists, seed).is_file() for seed in FORGET_SEEDS):
            recipe.write_lists(root, lists)
        return missing


def _complete(root: Path, recipe: Recipe, force: bool) -> bool:
    """True when the wanted data set is there, False when it is to be written; otherwise an error with what to do.

    `force` writes over any generated data set of this kind, and over nothing else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    manifest = root / "manifest.json"
    if not manifest.is_file():
        raise DataError(f"{root} holds files but no manifest.json, so it is no {recipe.label}; move it or name another")
    if force:
        return False
    found = read_json(manifest, "manifest")
    for key, value in recipe.identity.items():
        held = found.get(key) if isinstance(found, dict) else None
        if held != value:
            text = f"{manifest}: {key} is {held!r}, wanted {value!r}; to replace the data set: {recipe.command}"
            raise ConfigError(text)
    return True


def _write(root: Path, recipe: Recipe) -> None:
    partial, former = root.with_name(f"{root.name}.partial"), root.with_name(f"{root.name}.former")
    for stale in (partial, former):
        shutil.rmtree(stale, ignore_errors=True)
    recipe.write(partial)
    if root.exists():
        os.rename(root, former)
    os.rename(partial, root)
    shutil.rmtree(former, ignore_errors=True)
