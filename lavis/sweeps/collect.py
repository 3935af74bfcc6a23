"""Collects a sweep's report from its run folders."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lavis.common.checkpoint import BEST
from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.report.gallery import GALLERIES, Gallery, build_gallery, is_drawn
from lavis.report.numbers import Row, by_setting
from lavis.report.page import Report
from lavis.report.public import public
from lavis.report.rows import broken_row, check_audit, losses, other_evaluations, relearning, row_from_folder
from lavis.report.verdicts import VerdictRules
from lavis.sweeps.evaluations import reference_result
from lavis.sweeps.jobs import Job
from lavis.sweeps.plan import Cell, Setting, compose, expand, reference_seeds, seed_options, settings
from lavis.sweeps.references import published, reference_jobs
from lavis.sweeps.schema import SweepConfig
from lavis.tasks.checkpoints import load_model

logger = logging.getLogger(__name__)
UNSHOWN = "the images to forget are not drawn by this project; add --show-people to put them on the page"
GALLERY_ERRORS = (OSError, RuntimeError, ValueError, KeyError)


def collect(sweep: SweepConfig, failures: Sequence[str] = (), made_by: Sequence[str] = ()) -> Report:
    """The finished results, and every file that is left out.

    failures: sentences about failed jobs, shown on the page. Raises MissingFile if there are no results at all.
    """
    cells, problems = expand(sweep), list(failures)
    rows = [row for setting in settings(sweep) for row in setting_rows(sweep, setting, cells, problems)]
    if not rows:
        raise MissingFile(f"{sweep.source}: there are no results yet; run: python bash/run.py {sweep.source}")
    rows += [other for row in rows for other in other_evaluations(Path(row["folder"]), row["name"], problems)]
    folders = list(dict.fromkeys(row["folder"] for row in rows))  # a reference may stand in several settings
    curves = {
        "losses": {folder: losses(Path(folder), problems) for folder in folders},
        "relearning": {folder: relearning(Path(folder), problems) for folder in folders},
    }
    for folder in folders:
        check_audit(Path(folder), problems)
    drawn = galleries(sweep, rows, Path(sweep.report_dir), problems)
    rules, said = VerdictRules.from_dict(sweep.verdict, sweep.source), list(dict.fromkeys(problems))
    report = Report(rows, galleries=drawn, problems=said, made_by=made_by, rules=rules, **curves)
    return public(report) if sweep.public else report


def setting_rows(sweep: SweepConfig, setting: Setting, cells: Sequence[Cell], problems: list[str]) -> list[Row]:
    """The rows of one setting, references first; missing and doubtful results are added to `problems`."""
    rows = []
    for name, seed in itertools.product(sweep.references, reference_seeds(sweep)):
        if not _expected(sweep, setting, name):
            continue
        job = _reference_job(sweep, setting, name, seed)
        row = _row(job, name, seed, setting, problems, _remedy(setting, name))
        rows += [] if row is None or not _same_forget_set(row, setting, problems) else [row]
    for cell in cells:
        if (cell.backbone, cell.task, cell.df_size) != (setting.backbone, setting.task, setting.df_size):
            continue
        remedy = f"python bash/run.py {sweep.source}"
        row = _row(cell.job, cell.label, cell.seed, setting, problems, remedy)
        rows += [] if row is None else [{**row, "budget": cell.variant.budget, "point": cell.variant.point}]
    return rows


def _reference_job(sweep: SweepConfig, setting: Setting, name: str, seed: int | None) -> Job:
    """The job that wrote a reference's results for this setting, or would."""
    options = seed_options(sweep, setting.cfg_path, seed)
    (trained,) = reference_jobs(setting.cfg_path, sweep.options, [name], setting.df_size, options)
    return reference_result(sweep, setting, name, seed).job or trained


def _remedy(setting: Setting, name: str) -> str:
    if name == "retrained":
        return f"bash bash/retrain.sh {setting.cfg_path} --options run.df_size={setting.df_size}"
    return f"bash bash/ori.sh {setting.cfg_path}"


def _expected(sweep: SweepConfig, setting: Setting, name: str) -> bool:
    """With a published original model, the only other references are those whose checkpoints the sweep names."""
    config = compose(setting.cfg_path, tuple(sweep.options))
    return name == "compromised" or name in sweep.checkpoints or not published(config)


def _row(job: Job, name: str, seed: int | None, setting: Setting, problems: list[str], remedy: str) -> Row | None:
    """A job's row; a "broken" one if its results cannot be read; None if there are none.

    "doubt" says why the job would have other results now.
    """
    folder = job.folder
    try:
        row = row_from_folder(folder, name)
    except MissingFile:
        problems.append(f"{name}: no results in {folder}; run: {remedy}")
        return None
    except DataError as error:
        problems.append(f"{name}: {error}")
        return broken_row(folder, name, seed, error, **dataclasses.asdict(setting))
    if row.get("broken"):
        problems.append(f"{name}: the model of {folder} is broken: {row['broken']}")
    elif doubt := job.doubt():
        problems.append(f"{job.name}: {doubt}")
        row["doubt"] = doubt
    if not row["metrics"] and not row.get("broken"):
        problems.append(f"{name}: {folder} was not evaluated (run.evaluate_after was off); use evaluate.py")
    return row


def _same_forget_set(row: Row, setting: Setting, problems: list[str]) -> bool:
    """Whether a reference's numbers are for this forget set; if not, the row is omitted and the page says so."""
    if row["df_size"] == setting.df_size and row["df_seed"] == setting.df_seed:
        return True
    problems.append(
        f"{row['name']} is omitted: {row['folder']} is for forget list {row['df_seed']} and {row['df_size']} images, "
        f"not for {setting.df_seed} and {setting.df_size}"
    )
    return False


def galleries(sweep: SweepConfig, rows: Sequence[Row], folder: Path, problems: list[str]) -> dict[Any, Gallery]:
    """A gallery for every setting; one that cannot be built is a problem on the page, not the end of the report.

    Files of former galleries are deleted: they may show people whom this report must not show.
    """
    for former in folder.glob(GALLERIES):
        former.unlink()
    built: dict[Any, Gallery] = {}
    shown = [place for place in settings(sweep) if sweep.gallery and not (sweep.public and not _drawn(sweep, place))]
    places = {(place.backbone, place.task, place.df_size): place for place in shown}
    for setting, group in by_setting(rows).items():
        if setting not in places:
            continue
        try:
            built[setting] = _gallery(sweep, places[setting], group)
        except GALLERY_ERRORS as error:
            logger.warning("no gallery for %s: %s", setting, error)
            problems.append(f"no gallery of portraits: {error}")
    for number, gallery in enumerate(built.values()):
        gallery.save(folder / GALLERIES.replace("*", str(number)))
    return built


def _drawn(sweep: SweepConfig, setting: Setting) -> bool:
    return is_drawn(compose(setting.cfg_path, tuple(sweep.options), df_size=setting.df_size))


def _gallery(sweep: SweepConfig, setting: Setting, rows: Sequence[Row]) -> Gallery:
    config = compose(setting.cfg_path, tuple(sweep.options), df_size=setting.df_size)
    if not (sweep.show_people or is_drawn(config)):
        raise ConfigError(UNSHOWN)
    checkpoints: dict[str, Path] = {}
    for row in rows:
        if not row.get("broken"):
            checkpoints.setdefault(row["name"], Path(row["checkpoint"] or Path(row["folder"]) / BEST))
    return build_gallery(config, checkpoints, sweep.gallery, load_model)
