"""The end of a training run: what it leaves in its folder."""

from __future__ import annotations

from pathlib import Path

from lavis.common.checkpoint import delete_training_states
from lavis.common.errors import DataError
from lavis.common.logger import get_logger
from lavis.datasets.builder import PairBuilder
from lavis.deletion.purge import purge
from lavis.settings.schema import RunConfig


def end_run(folder: Path, run: RunConfig, builder: PairBuilder) -> None:
    """Delete training states unless run.keep_training_state, and purge if run.purge_after. On rank 0 alone.

    Raises DataError if something of the forget set is still found after the purge.
    """
    log = get_logger()
    if not run.keep_training_state:
        delete_training_states(folder)
    if run.purge_after and run.method:
        done = purge(folder, Path(run.output_dir), builder, lambda text: log.info("%s", text))
        if done.remains:
            raise DataError(f"run.purge_after: {done.text()}\nRemove these files, or look at them")
        log.info("Purged: %s", done.text())
