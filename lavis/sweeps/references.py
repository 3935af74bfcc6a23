"""The reference models that unlearning starts from and is compared with: compromised, clean, retrained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lavis.common.registry import registry
from lavis.runners.run_dir import run_folder
from lavis.settings.config import Config
from lavis.settings.schema import REFERENCES
from lavis.sweeps.jobs import Job
from lavis.sweeps.plan import Setting, command, compose, log_path, reference_seeds, start_of
from lavis.sweeps.schema import SweepConfig


def reference_config(cfg_path: str, options: Sequence[str], reference: str, df_size: int | None = None) -> Config:
    """The configuration that train.py composes for a reference."""
    given = [*options, f"run.reference={reference}"]
    if df_size is not None:
        given.append(f"run.df_size={df_size}")
    return compose(cfg_path, tuple(given), ("original", reference))


def reference_folder(config: Config) -> Path:
    """The run folder of a configuration from `reference_config`."""
    return run_folder(config.run, config.backbone, config.job_name, config.run.df_size)


def reference_jobs(
    cfg_path: str,
    options: Sequence[str] = (),
    references: Sequence[str] = REFERENCES,
    df_size: int | None = None,
    seed: Sequence[str] = (),
) -> list[Job]:
    """One train.py job per reference of a configuration.

    df_size: another forget-set size than the configured one. seed: the options of `seed_options`.
    """
    jobs = []
    for reference in references:
        config = reference_config(cfg_path, [*options, *seed], reference, df_size)
        given = [*options, *seed, f"run.reference={reference}"]
        if df_size is not None and df_size != compose(cfg_path, tuple(options)).run.df_size:
            given.append(f"run.df_size={df_size}")
        size = f" · {config.run.df_size}" if reference == "retrained" else ""
        seeded = f" · seed {config.run.seed}" if seed else ""
        name = f"{reference} · {config.backbone} · {config.job_name}{size}{seeded}"
        argv, log = command("train.py", cfg_path, given), log_path(config.run, name)
        jobs.append(Job(name, argv, reference_folder(config), log, config=_expected(config, reference)))
    return jobs


def _expected(config: Config, reference: str) -> dict[str, Any]:
    """The configuration that a reference's results should record.

    Without metrics, because a separate evaluation adds missing ones; only `retrained` depends on the size of Df.
    """
    content = config.to_dict()
    del content["run"]["metrics"]
    if reference != "retrained":
        del content["run"]["df_size"]
    return content


def published(config: Config) -> str | None:
    """The checkpoint, if the configuration names one, that it starts from instead of an original model trained here."""
    return config.run.resume_ckpt_path or config.model.pretrained


def prepare_data(config: Config) -> None:
    """Let the data set's builder check or generate its files. Raises MissingFile with the command to run."""
    registry.get_builder_class(config.dataset_name)(config.dataset, config.run).prepare()


def unlearn_hint(config: Config) -> str:
    """How to unlearn from the published checkpoint that a configuration names."""
    size = config.run.df_size or "<images to forget>"
    key = "run.resume_ckpt_path" if config.run.resume_ckpt_path else "model.pretrained"
    return (
        f"{config.source} starts from the published checkpoint {published(config)}, so there is nothing to train. "
        "Unlearn from it with\n"
        f"    python unlearn.py --unlearn_method vlul --backbone {config.backbone} --task {config.job_name} "
        f"--df_size {size} --cfg-path {config.source} --options {key}={published(config)}\n"
        "(to train references on this data set anyway, set both model.pretrained and run.resume_ckpt_path to null "
        "with --options)"
    )


def missing_originals(sweep: SweepConfig, settings: Sequence[Setting]) -> list[str]:
    """Experiment files whose original models, which the sweep starts from, do not all exist yet; each once."""
    missing = []
    for setting in settings:
        config = compose(setting.cfg_path, tuple(sweep.options))
        starts = [start_of(sweep, setting, seed) for seed in reference_seeds(sweep)]
        if not published(config) and not all(start.exists() for start in starts):
            missing.append(setting.cfg_path)
    return list(dict.fromkeys(missing))
