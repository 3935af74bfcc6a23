"""Finds a reference's results for one forget-set size, or the evaluate.py job that computes them.

A reference is evaluated after its training, with the forget set of its configuration. A sweep over other sizes (or a
published checkpoint) has to evaluate it again without overwriting the run folder's results. The checkpoint is therefore
linked into another folder: `output/references/<backbone>/<task>/df-<size>-<df_seed>/`.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavis.common.checkpoint import BEST
from lavis.common.errors import DataError, MissingFile
from lavis.common.files import SMALL, file_digest, link_or_copy, read_text, replacing, write_text
from lavis.common.keeping import set_aside
from lavis.settings.config import Config
from lavis.settings.schema import RunConfig
from lavis.sweeps.jobs import RESULTS, Job, read_results
from lavis.sweeps.plan import Setting, command, log_path, seed_options
from lavis.sweeps.references import published, reference_config, reference_folder
from lavis.sweeps.schema import SweepConfig

log = logging.getLogger(__name__)
DIGEST = re.compile("[0-9a-f]{128}")


@dataclass(frozen=True)
class ReferenceResult:
    """`folder` contains (or will contain) the results.json of reference `name`.

    `job` writes it from the weights at `source` (a file or a hub name) through `link`; None if training wrote it.
    """

    name: str
    folder: Path
    job: Job | None = None
    source: str = ""
    link: Path = Path()
    metrics: tuple[str, ...] = ()  # kinds of metrics (run.metrics) that the results should have

    @property
    def pending(self) -> bool:
        """Whether `job` has no results yet, or lacks some of the metrics."""
        results = read_results(self.folder)
        return results.get("finished") is not True or not _measures(results, self.metrics)

    def prepare(self, model_type: str) -> None:
        """Link the checkpoint; set results aside that are of other weights or lack metrics. Raises MissingFile."""
        from lavis.hub.places import resolve_weights

        target = resolve_weights(self.source, model_type).resolve()
        with replacing(self.link) as temporary:
            link_or_copy(target, temporary)
        changed = self._changed(target)
        results = self.folder / RESULTS
        if results.exists() and (changed or not _measures(read_results(self.folder), self.metrics)):
            log.warning("%s is evaluated again; the former results are kept as %s", self.name, set_aside(results).name)

    def _changed(self, weights: Path) -> bool:
        """Whether the weights differ from those at the last call, by content: a copy may have kept its old time."""
        note = self.link.with_name(f".{self.link.name}.digest")
        digest, former = file_digest(weights), ""
        try:
            former = read_digest(note) if os.path.lexists(note) else ""
        except (DataError, MissingFile) as error:
            log.warning("%s; the weights count as changed", error)
        write_text(note, digest)
        return former != digest


def read_digest(note: Path) -> str:
    """The digest of the weights that were evaluated last. Raises MissingFile, DataError."""
    text = read_text(note, "digest of weights", largest=SMALL).strip()
    if not DIGEST.fullmatch(text):
        raise DataError(f"digest of weights {note}: expected 128 hexadecimal digits, found {text!r:.40}; delete it")
    return text


def reference_result(sweep: SweepConfig, setting: Setting, name: str, seed: int | None = None) -> ReferenceResult:
    """Where reference `name` has its results for this setting, trained with `seed` (None: the configured one)."""
    options = [*sweep.options, *seed_options(sweep, setting.cfg_path, seed)]
    config = reference_config(setting.cfg_path, options, name, setting.df_size)
    folder = reference_folder(config)
    source = _source(sweep, config, name, folder)
    trained = source == str(folder / BEST)
    if trained and (_fits(folder, config.run) or not Path(source).exists()):
        return ReferenceResult(name, folder)
    return _evaluation(options, setting, config, name, source)


def _source(sweep: SweepConfig, config: Config, name: str, folder: Path) -> str:
    """The weights of a reference: those the sweep names, those trained here, or those unlearning starts from."""
    if name in sweep.checkpoints:
        return sweep.checkpoints[name]
    start = published(config)
    return start if name == "compromised" and start and not (folder / BEST).exists() else str(folder / BEST)


def _fits(folder: Path, run: RunConfig) -> bool:
    """Whether a run folder's results, if any, are for this forget set and have all kinds of metrics."""
    results = read_results(folder)
    same = (results.get("df_size"), results.get("df_seed")) == (run.df_size, run.df_seed)
    return not results or (same and _measures(results, run.metrics))


def _measures(results: dict[str, Any], kinds: Sequence[str]) -> bool:
    """Whether results have these kinds of metrics; assumed if they do not say."""
    config = results.get("config")
    run = config.get("run") if isinstance(config, dict) else None
    known = run.get("metrics") if isinstance(run, dict) else None
    return not isinstance(known, list) or all(kind in known for kind in kinds)


def _evaluation(given_options: list[str], setting: Setting, config: Config, name: str, source: str) -> ReferenceResult:
    run, size = config.run, f"df-{setting.df_size}-{config.run.df_seed}"
    base = Path(run.output_dir) / "references" / setting.backbone / setting.task / size
    base = base / f"seed-{run.seed}" if run.seed_folder else base
    link = base / f"{name}{Path(source).suffix if Path(source).is_file() else '.pth'}"
    options = [*given_options, f"run.reference={name}", f"run.df_size={setting.df_size}"]
    options += [f"run.checkpoint={link.as_posix()}", f"run.output_dir={base.as_posix()}"]
    seed = f" · seed {run.seed}" if run.seed_folder else ""
    title = f"evaluate {name} · {setting.backbone} · {setting.task} · {setting.df_size}{seed}"
    folder = base / "evaluate" / setting.backbone / setting.task / name
    job = Job(title, command("evaluate.py", setting.cfg_path, options), folder, log_path(run, title))
    return ReferenceResult(name, folder, job, source, link, tuple(run.metrics))
