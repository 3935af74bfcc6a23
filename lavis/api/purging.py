"""Purging a finished run: its configuration says what was to be forgotten, and where the caches are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from lavis.common.checkpoint import BEST
from lavis.common.errors import DataError, MissingFile, UserFault
from lavis.common.registry import registry
from lavis.datasets.builder import PairBuilder
from lavis.deletion.purge import Purged
from lavis.deletion.purge import purge as purge_folder
from lavis.runners.run_dir import folder_lock, output_of
from lavis.settings.config import compose_dataset
from lavis.settings.schema import RunConfig
from lavis.tasks.checkpoints import checkpoint_config

SAYS_WHAT_TO_FORGET = ("df_size", "df_seed", "seed", "twins", "train_splits", "test_splits", "read_holdouts")


def purge(folder: Path, say: Callable[[str], None], everything: bool = False) -> Purged:
    """Remove what a run's output folder holds of its forget set (lavis/deletion/purge.py).

    The output folder is found from where the run folder lies, whatever the working directory.
    Raises MissingFile if the folder has no finished run, DataError if its data are no longer there.
    """
    if not (folder / BEST).is_file():
        raise MissingFile(f"{folder} has no {BEST}: name the folder of a finished unlearning run")
    if (folder / BEST).is_symlink():
        raise DataError(f"{folder}: the run has not ended, and its states are all there is of it; let it end first")
    builder, output = run_data(folder)
    try:
        builder.prepare()
        builder.partition()
    except UserFault as error:
        raise DataError(
            f"{folder}: what was to be forgotten can no longer be read ({error}); purge before rows are deleted, or "
            f"delete {output}/features, {output}/pixels, {output}/packed and the logs yourself"
        ) from error
    with folder_lock(folder):
        return purge_folder(folder, output, builder, say, everything=everything)


def run_data(folder: Path) -> tuple[PairBuilder, Path]:
    """The run's data, and its output folder. Raises DataError if the folder is not of an unlearning run."""
    config = checkpoint_config(folder / BEST)
    run, datasets = config.get("run", {}), config.get("datasets", {})
    if not run.get("method") or len(datasets) != 1:
        raise DataError(f"{folder / BEST} is not of an unlearning run; nothing was forgotten there")
    output = output_of(folder, run)
    ((name, section),) = datasets.items()
    known = {item.name for item in fields(RunConfig)}
    settings = {key: run[key] for key in SAYS_WHAT_TO_FORGET if key in run and key in known}
    dataset = compose_dataset(name, [(str(folder / BEST), section)])
    return registry.get_builder_class(name)(dataset, RunConfig(output_dir=str(output), **settings)), output
