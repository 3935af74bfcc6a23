"""Where a reference's numbers are, for one forget-set size; and the evaluate.py job that makes them if need be.

A reference is evaluated when it has been trained, with the forget set of its configuration. A sweep over other
sizes (or a published checkpoint) needs it evaluated again. That must not overwrite the run folder's own results,
so the checkpoint is linked into a folder of its own: `output/references/<backbone>/<task>/df-<size>-<df_seed>/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavis.common.checkpoint import BEST
from lavis.common.files import file_digest, replacing
from lavis.settings.config import Config
from lavis.settings.schema import RunConfig
from lavis.sweeps.jobs import RESULTS, Job, read_results
from lavis.sweeps.plan import Setting, command, log_path, seed_options
from lavis.sweeps.references import published, reference_config, reference_folder
from lavis.sweeps.schema import SweepConfig


@dataclass(frozen=True)
class ReferenceResult:
    """`folder` holds (or will hold) the results.json of reference `name`.

    `job` makes it from the weights at `source` (a file, or a hub name) through `link`; None where training made it.
    """

    name: str
    folder: Path
    job: Job | None = None
    source: str = ""
    link: Path = Path()
    metrics: tuple[str, ...] = ()  # kinds of metrics (run.metrics) that the results should have

    def prepare(self, model_type: str) -> None:
        """Link the checkpoint, and drop results that are of other weights or lack metrics. Raises MissingFile."""
        from lavis.hub.places import resolve_weights

        target = resolve_weights(self.source, model_type).resolve()
        with replacing(self.link) as temporary:
            temporary.symlink_to(target)
        changed = self._changed(target)
        results = self.folder / RESULTS
        if results.exists() and (changed or not _measures(read_results(self.folder), self.metrics)):
            results.unlink()

    def _changed(self, weights: Path) -> bool:
        """Whether the weights are others than at the last call, by their content: times of files can lie."""
        note = self.link.with_name(f".{self.link.name}.digest")
        digest = file_digest(weights)
        former = note.read_text(encoding="utf-8") if note.exists() else None
        note.write_text(digest, encoding="utf-8")
        return former != digest


def reference_result(sweep: SweepConfig, setting: Setting, name: str, seed: int | None = None) -> ReferenceResult:
    """Where reference `name` has its numbers for this setting; `seed` where it was trained with another seed."""
    options = [*sweep.options, *seed_options(sweep, setting.cfg_path, seed)]
    config = reference_config(setting.cfg_path, options, name, setting.df_size)
    folder = reference_folder(config)
    source = _source(sweep, config, name, folder)
    own = source == str(folder / BEST)
    if own and (_fits(folder, config.run) or not Path(source).exists()):
        return ReferenceResult(name, folder)
    return _evaluation(options, setting, config, name, source)


def _source(sweep: SweepConfig, config: Config, name: str, folder: Path) -> str:
    """The weights of a reference: named by the sweep, or trained here, or what unlearning starts from."""
    if name in sweep.checkpoints:
        return sweep.checkpoints[name]
    start = published(config)
    return start if name == "compromised" and start and not (folder / BEST).exists() else str(folder / BEST)


def _fits(folder: Path, run: RunConfig) -> bool:
    """Whether the numbers of a run folder, once there, are for this forget set and of all kinds asked for."""
    results = read_results(folder)
    same = (results.get("df_size"), results.get("df_seed")) == (run.df_size, run.df_seed)
    return not results or (same and _measures(results, run.metrics))


def _measures(results: dict[str, Any], kinds: Sequence[str]) -> bool:
    """Whether results are of these kinds of metrics; true of results that do not say."""
    config = results.get("config")
    known = config.get("run", {}).get("metrics") if isinstance(config, dict) else None
    return known is None or set(kinds) <= set(known)


def _evaluation(given_options: list[str], setting: Setting, config: Config, name: str, source: str) -> ReferenceResult:
    run, size = config.run, f"df-{setting.df_size}-{config.run.df_seed}"
    base = Path(run.output_dir) / "references" / setting.backbone / setting.task / size
    base = base / f"seed-{run.seed}" if run.seed_folder else base
    link = base / f"{name}{Path(source).suffix if Path(source).is_file() else '.pth'}"
    given = {
        "reference": name,
        "df_size": setting.df_size,
        "checkpoint": link.as_posix(),
        "output_dir": base.as_posix(),
    }
    options = [*given_options, *(f"run.{key}={value}" for key, value in given.items())]
    own = f" · seed {run.seed}" if run.seed_folder else ""
    title = f"evaluate {name} · {setting.backbone} · {setting.task} · {setting.df_size}{own}"
    folder = base / "evaluate" / setting.backbone / setting.task / name
    job = Job(title, command("evaluate.py", setting.cfg_path, options), folder, log_path(run, title))
    return ReferenceResult(name, folder, job, source, link, tuple(run.metrics))
