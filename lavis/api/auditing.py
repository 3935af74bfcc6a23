"""`lavis.audit`: attack an unlearned model, and compare what comes back with models that never saw the data."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lavis.api.composing import CONFIG, DEFAULTS, write_config
from lavis.api.running import checkpoint_of
from lavis.audits.audit import Audit
from lavis.audits.material import Material
from lavis.audits.models import CLEAN, ORIGINAL, RETRAINED, UNLEARNED, reference_checkpoints
from lavis.audits.runner import FRESH, SHARED, run_audit
from lavis.common import distributed
from lavis.common.checkpoint import BEST
from lavis.common.errors import ConfigError, MissingFile
from lavis.common.features import PairFeatures
from lavis.common.files import check_file
from lavis.common.home import at_home, home_path
from lavis.common.logger import get_logger, setup_logging
from lavis.common.registry import registry
from lavis.common.results import AUDIT
from lavis.hub.preparing import builder_of
from lavis.report.audit_page import as_text, write_page
from lavis.runners.run_dir import RESULTS, folder_lock, output_of
from lavis.settings.config import Config, load_config
from lavis.tasks.checkpoints import checkpoint_config, load_model, starting_weights

PAGE = "audit.html"
KEPT = (
    "output_dir",
    "resume_ckpt_path",
    "df_size",
    "df_seed",
    "seed",
    "unlearn_seed",
    "seed_folder",
    "attention",
    "num_workers",
)


@dataclass(frozen=True)
class AuditResult:
    """A finished audit: `content`, that of audit.json; `folder`, where it and the page audit.html are."""

    content: dict[str, Any]
    folder: Path

    @property
    def found(self) -> bool:
        """Whether any attack has a result; the notes name those that have none."""
        return any(one["variants"] for one in self.content["attacks"].values())

    def __str__(self) -> str:
        return f"{as_text(self.content)}page: {self.folder / PAGE}\n"


def audit(
    run: str | Path,
    *,
    budget: str = "quick",
    attacks: Sequence[str] = (),
    minutes: float = 0,
    original: str | Path | None = None,
    clean: str | Path | None = None,
    retrained: str | Path | None = None,
    shadows: Sequence[str | Path] = (),
    control: str = "",
    output_dir: str | Path | None = None,
    options: Sequence[str] = (),
) -> AuditResult:
    """Attack the model of a run folder. The same call continues an audit that was interrupted.

    Args:
        run: the run folder of an unlearning, or its checkpoint.
        budget: quick, standard or full.
        attacks: names (`multidelete zoo attacks`); empty: all of the budget.
        minutes: leave out the attacks that take longest until the estimate fits; 0: none. The result names them.
        original: the model that unlearning started from, a checkpoint or run folder; None: as this project wrote it.
        clean: one that saw nobody of the sensitive data; None: as for `original`.
        retrained: one trained on everything except what was to be forgotten; None: as for `original`.
        shadows: models retrained without Df with other seeds, for the two-sample test.
        control: a split whose pairs no model saw; "": fresh people are drawn for SALMU-mini, else split `test`.
        output_dir: where audit.json, audit.html and finished parts go; default: `audit` in the run folder.
        options: dotted settings, such as run.audit.seed=1.

    Raises ConfigError, DataError, MissingFile, CheckpointError.
    """
    checkpoint = _audited(run)
    folder = home_path(output_dir or checkpoint.parent / AUDIT)
    chosen = dict(budget=budget, attacks=attacks, minutes=minutes, control=control, shadows=list(shadows))
    config, given = _config(checkpoint, chosen, options), {ORIGINAL: original, CLEAN: clean, RETRAINED: retrained}
    shared = None if output_dir else Path(config.run.output_dir) / SHARED
    with folder_lock(folder):
        content = run_audit(_built(config, checkpoint, given, folder, shared))
        write_page(content, folder / PAGE)
    return AuditResult(content, folder)


def _audited(run: str | Path) -> Path:
    """The checkpoint of a run. Raises ConfigError where there is none; DataError, MissingFile as `check_file`."""
    checkpoint, path = checkpoint_of(at_home(str(run))), home_path(run)
    if checkpoint is not None:
        return checkpoint
    for file in (path / RESULTS, path / BEST) if path.is_dir() else (path,):
        check_file(file, "audit:", "name the run folder of an unlearning")
    raise ConfigError(f"audit: {run} is no checkpoint of this project; name the run folder of an unlearning")


def _config(checkpoint: Path, chosen: Mapping[str, Any], options: Sequence[str]) -> Config:
    content = checkpoint_config(checkpoint)
    run = {"batch_size_eval": DEFAULTS["batch_size_eval"]}
    run |= {key: value for key, value in content["run"].items() if key in (*KEPT, "batch_size_eval")}
    section = {key: value for key, value in chosen.items() if value}
    with tempfile.TemporaryDirectory() as temporary:
        run["output_dir"] = str(_output(checkpoint, content["run"]))
        path = write_config(Path(temporary) / CONFIG, content["model"], content["datasets"], {**run, "audit": section})
        return load_config(path, options)


def _output(checkpoint: Path, run: Mapping[str, Any]) -> Path:
    """Where the run's reference models are; the configured folder for a checkpoint that was moved by itself."""
    try:
        return output_of(checkpoint.parent, run)
    except ConfigError:
        return Path(run.get("output_dir", "output"))


def _built(
    config: Config, checkpoint: Path, given: Mapping[str, str | Path | None], folder: Path, shared: Path | None
) -> Audit:
    setup_logging()
    model_class, run = registry.get_model_class(config.model.arch), config.run
    if model_class.features is not PairFeatures:
        raise ConfigError("audit: the attacks need a model of two towers, such as clip")
    if run.threads:
        torch.set_num_threads(run.threads)
    device = distributed.resolve_device(run.device)
    builder, _ = builder_of(config, str(checkpoint))
    builder.prepare()
    if not builder.forgets:
        raise ConfigError("audit: the configuration of this run does not say what was to be forgotten")
    found: dict[str, str] = {UNLEARNED: str(checkpoint), **_references(config, model_class.family, given)}
    for role, path in found.items():
        get_logger().info("%s: %s", role, path)
    models = {role: load_model(config.model, path, device) for role, path in found.items()}
    material = Material(builder, folder / FRESH, run.audit.control, run.audit.seed)
    audit = Audit(models, material, run, device, folder, shared)
    for role in (CLEAN, RETRAINED):
        if given[role] is not None and audit.digests[role] == audit.digests[UNLEARNED]:
            raise ConfigError(f"audit: --{role} {given[role]} has the unlearned model's own weights")
    return audit


def _references(config: Config, family: str, given: Mapping[str, str | Path | None]) -> dict[str, str]:
    """Weights by role: those that are named, else those that this project's runs have written."""
    found = {role: str(path) for role, path in reference_checkpoints(config.run, family, config.job_name).items()}
    if ORIGINAL not in found:
        try:
            found[ORIGINAL] = starting_weights(config)
        except MissingFile:
            get_logger().info("there is no original model: shares of what it knew are not computed")
    for role, path in given.items():
        if path is not None:
            named = at_home(str(path))
            found[role] = str(checkpoint_of(named) or named)
    return {role: found[role] for role in (ORIGINAL, CLEAN, RETRAINED) if role in found}
