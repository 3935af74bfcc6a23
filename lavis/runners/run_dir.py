"""Run folders: where a run's files go, who may write there, and what made them."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lavis.common.errors import ConfigError
from lavis.common.files import Locked, lock, remove_leftovers
from lavis.settings.schema import RunConfig

RESULTS = "results.json"
LOCK = ".lock"
FOLDERS = {"compromised": "original", "clean": "clean", "retrained": "retrained"}


def run_folder(run: RunConfig, backbone: str, task: str, df_size: int | None) -> Path:
    """`output/original/<backbone>/<task>` for references, `output/unlearn-<method>/…/<df_size>` for methods.

    The reference that depends on Df (retrained) has the df_size too; below it come `run.subfolder` and, with
    `run.seed_folder`, `seed-<seed>`.
    """
    name = f"unlearn-{run.method}" if run.method else FOLDERS[run.reference]
    folder = Path(run.output_dir) / name / backbone / task
    if run.method or run.reference == "retrained":
        folder /= str(df_size)
    folder /= run.subfolder
    return folder / f"seed-{run.seed}" if run.seed_folder else folder


def original_checkpoint(run: RunConfig, backbone: str, task: str) -> Path:
    """Where unlearning starts from unless told otherwise."""
    return Path(run.output_dir) / FOLDERS["compromised"] / backbone / task / "checkpoint_best.pth"


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a run folder for one run; the kernel frees it when the process ends, however it ends.

    Raises ConfigError when another run holds it.
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
    """The commit of the source tree when first asked for; None outside git.

    It ends in "+changes" where tracked files differ from it.
    """
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
    """The command as typed, less the interpreter's path."""
    world = os.environ.get("WORLD_SIZE")
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={world}"] if world else []
    return ["python", *launcher, *sys.argv]
