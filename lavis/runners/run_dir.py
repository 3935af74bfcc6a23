"""Run folders: where they are, who may write to them, and the command and commit recorded in them."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lavis.common.errors import ConfigError
from lavis.common.leftovers import remove_leftovers
from lavis.common.locks import Locked, lock
from lavis.common.secrets import FILE
from lavis.settings.schema import RunConfig

RESULTS = "results.json"
LOCK = ".lock"
FOLDERS = {"compromised": "original", "clean": "clean", "retrained": "retrained"}


def run_folder(run: RunConfig, backbone: str, task: str, df_size: int | None) -> Path:
    """`output/original/<backbone>/<task>` for references, `output/unlearn-<method>/…/<df_size>` for methods.

    The reference that depends on Df (retrained) has the df_size too. `run.subfolder` and, with `run.seed_folder`, the
    seeds are appended. `run.run_folder` replaces all of it.
    """
    if run.run_folder:
        return Path(run.run_folder)
    name = f"unlearn-{run.method}" if run.method else FOLDERS[run.reference]
    folder = Path(run.output_dir) / name / backbone / task
    if run.method or run.reference == "retrained":
        folder /= str(df_size)
    folder /= run.subfolder
    return folder / seed_name(run) if run.seed_folder else folder


def output_of(folder: Path, run: Mapping[str, Any]) -> Path:
    """The output folder that a run folder lies in; `run`: the run's configuration.

    A configured relative path says nothing in another working directory, and folders are moved. So where the run folder
    has its usual name, the output folder is the one that contains `unlearn-<method>/...`; else it is the configured
    one if the run folder lies in it, else the nearest with a `.secret`. Raises ConfigError if there is none.
    """
    place, configured = folder.resolve(), Path(run.get("output_dir", "output"))
    name = f"unlearn-{run.get('method')}"
    found = [] if run.get("run_folder") else [above.parent for above in place.parents if above.name == name]
    if place.is_relative_to(configured.resolve()):
        found.append(configured)
    found += [above for above in (place, *place.parents) if (above / FILE).is_file()]
    if found:
        return configured if found[0] == configured.resolve() else found[0]
    raise ConfigError(
        f"{folder} lies in no output folder: not in run.output_dir ({configured}), and no folder above it contains "
        f"{name} or {FILE}; call this from the folder where the run was started, or move the run back there"
    )


def seed_name(run: RunConfig) -> str:
    """The subfolder that run.seed_folder asks for."""
    own = f"-{run.draw_seed}" if run.draw_seed != run.seed else ""
    return f"seed-{run.seed}{own}"


def original_checkpoint(run: RunConfig, backbone: str, task: str) -> Path:
    """The checkpoint that unlearning starts from by default."""
    return Path(run.output_dir) / FOLDERS["compromised"] / backbone / task / "checkpoint_best.pth"


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Lock a run folder for one run; the kernel releases the lock when the process ends, however it ends.

    Raises ConfigError if another run has locked it.
    """
    try:
        with lock(folder / LOCK):
            remove_leftovers(folder)
            yield
    except Locked as error:
        raise ConfigError(
            f"another run is writing to {folder}; wait for it, or choose another run.output_dir"
        ) from error


@functools.cache
def git_commit() -> str | None:
    """The source tree's commit at the first call, with "+changes" if tracked files differ from it; None outside git."""
    root = Path(__file__).resolve().parents[2]
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)  # noqa: S603
    return done.stdout.strip()


def command_line() -> list[str]:
    """The command as typed, without the interpreter's path."""
    world = os.environ.get("WORLD_SIZE")
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={world}"] if world else []
    return ["python", *launcher, *sys.argv]
