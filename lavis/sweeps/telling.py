"""What the log of a sweep says about a job that has just finished: its verdict and its sentence of the report."""

from __future__ import annotations

from lavis.report.numbers import Row
from lavis.report.rows import row_from_folder
from lavis.report.story import story
from lavis.report.tables import word_of
from lavis.report.verdicts import NOT_MEASURED, VerdictRules
from lavis.sweeps.collect import setting_rows
from lavis.sweeps.jobs import Job
from lavis.sweeps.plan import Cell, Setting, expand, settings
from lavis.sweeps.pool import Tell
from lavis.sweeps.schema import SweepConfig


def verdicts_of(sweep: SweepConfig) -> Tell:
    """A `tell` for the unlearning jobs of a sweep; it says nothing about references.

    A job is compared with the references that have results when it ends, by its own seed alone: the report's verdict,
    on the mean over seeds, may differ.
    """
    cells = {cell.job.folder: cell for cell in expand(sweep)}
    places = {(place.backbone, place.task, place.df_size): place for place in settings(sweep)}
    rules = VerdictRules.from_dict(sweep.verdict, sweep.source)

    def tell(job: Job) -> str:
        cell = cells.get(job.folder)
        return _told(cell, references(sweep, places[cell.backbone, cell.task, cell.df_size]), rules) if cell else ""

    return tell


def references(sweep: SweepConfig, setting: Setting) -> list[Row]:
    """The references' rows of a setting, as far as they have results."""
    return setting_rows(sweep, setting, [], [])


def _told(cell: Cell, group: list[Row], rules: VerdictRules) -> str:
    row = row_from_folder(cell.job.folder, cell.label)
    found = story([row], [*group, row], rules)
    return f"it {found.text}" if found.verdict == NOT_MEASURED else f"verdict {word_of(found.verdict)}: it {found.text}"
