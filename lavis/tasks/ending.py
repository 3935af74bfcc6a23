"""The end of a training run: what it leaves in its folder."""

from __future__ import annotations

from pathlib import Path

from lavis.common.checkpoint import delete_training_states
from lavis.common.errors import DataError
from lavis.common.files import dispensable
from lavis.common.logger import get_logger
from lavis.datasets.builder import PairBuilder
from lavis.deletion.purge import Purged, purge
from lavis.deletion.record import RECORD, write_record
from lavis.settings.schema import RunConfig


def end_run(folder: Path, run: RunConfig, builder: PairBuilder) -> None:
    """Delete training states unless run.keep_training_state, purge if run.purge_after, write the deletion record.

    On rank 0 alone. Raises DataError if something of the forget set is still found after the purge.
    """
    if not run.keep_training_state:
        delete_training_states(folder)
    if not run.method:
        return
    done = _purged(folder, run, builder) if run.purge_after else Purged()
    with dispensable(folder / RECORD):
        write_record(folder, Path(run.output_dir), builder, key=run.record_key)
    if done.remains:
        raise DataError(f"run.purge_after: {done.text()}\nRemove these files, or look at them")


def _purged(folder: Path, run: RunConfig, builder: PairBuilder) -> Purged:
    log = get_logger()
    done = purge(folder, Path(run.output_dir), builder, lambda text: log.info("%s", text))
    log.info("Purged: %s", done.text())
    return done
