"""Turns a sweep file into jobs: one unlearn.py command per cell of the grid."""

from __future__ import annotations

import functools
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lavis.common.errors import ConfigError, suggest
from lavis.common.registry import registry
from lavis.runners.run_dir import original_checkpoint, run_folder
from lavis.settings.config import Config, check_backbone, load_config
from lavis.settings.schema import RunConfig
from lavis.sweeps.jobs import Job
from lavis.sweeps.schema import SweepConfig
from lavis.sweeps.variants import Variant, setting_options, variants
from lavis.tasks.entry import jobs_of

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Cell:
    """One cell of the grid: a method on a backbone, task, forget-set size and seed, with its job.

    `label` is the method's name in tables, with its budget and its point of the grid if the sweep has them.
    """

    method: str
    backbone: str
    task: str
    df_size: int
    seed: int
    cfg_path: str
    job: Job
    variant: Variant = Variant()

    @property
    def label(self) -> str:
        return self.method + self.variant.label


@dataclass(frozen=True)
class Setting:
    """What cells with comparable numbers share: backbone, task and forget-set size."""

    backbone: str
    task: str
    df_size: int
    df_seed: int
    cfg_path: str


@functools.lru_cache(maxsize=256)
def compose(cfg_path: str, options: tuple[str, ...] = (), job: tuple[str, ...] = (), **flags: Any) -> Config:
    """`load_config`, cached; callers must not change the result."""
    return load_config(cfg_path, options, job, **flags)


def expand(sweep: SweepConfig) -> list[Cell]:
    """All cells, methods innermost. Raises ConfigError for unknown methods, tasks and backbones before any job runs."""
    for method in sweep.methods:
        registry.get_trainer_class(method)
    return [
        _cell(sweep, setting, method, seed, variant)
        for setting in settings(sweep)
        for seed in sweep.seeds or [None]
        for method in sweep.methods
        for variant in variants(sweep, method)
    ]


def seed_options(sweep: SweepConfig, cfg_path: str, seed: int | None) -> list[str]:
    """Options that set a run's seed; runs with another seed than the configured one get their own folder."""
    if seed is None or seed == compose(cfg_path, tuple(sweep.options)).run.seed:
        return []
    return [f"run.seed={seed}", "run.seed_folder=true"]


def reference_seeds(sweep: SweepConfig) -> list[int | None]:
    """The seeds that references are trained with; None stands for the configured one."""
    return [*(sweep.seeds or [None])] if sweep.reference_seeds == "each" else [None]


def start_of(sweep: SweepConfig, setting: Setting, seed: int | None) -> Path:
    """The original model, if trained here, that unlearning with a seed starts from."""
    run = compose(setting.cfg_path, tuple(sweep.options)).run
    plain = original_checkpoint(run, setting.backbone, setting.task)
    own = sweep.reference_seeds == "each" and seed_options(sweep, setting.cfg_path, seed)
    return plain.parent / f"seed-{seed}" / plain.name if own else plain


def settings(sweep: SweepConfig) -> list[Setting]:
    """The settings of a sweep in its order: backbones × tasks × df sizes."""
    crossed = []
    for backbone in sweep.backbones:
        for task in sweep.tasks or [""]:
            path = sweep.path_for(backbone, task)
            config = compose(path, tuple(sweep.options))
            _check_names(sweep, config, backbone, task)
            sizes = sweep.df_sizes or ([] if config.run.df_size is None else [config.run.df_size])
            if not sizes:
                raise ConfigError(f"{sweep.source}: 'df_sizes' is empty and {path} sets no run.df_size")
            crossed += [Setting(backbone, config.job_name, size, config.run.df_seed, path) for size in sizes]
    return crossed


def _check_names(sweep: SweepConfig, config: Config, backbone: str, task: str) -> None:
    if backbone != config.backbone:
        check_backbone(backbone)
        raise ConfigError(
            f"{sweep.source}: backbone '{backbone}' goes with {config.source}, whose backbone is "
            f"'{config.backbone}'; give cfg_path a file for each backbone"
        )
    if task and task != config.job_name:
        raise ConfigError(
            f"{sweep.source}: task '{task}' goes with {config.source}, whose task is '{config.job_name}'; "
            f"{suggest(task, [config.job_name])}"
        )


def _cell(sweep: SweepConfig, setting: Setting, method: str, seed: int | None, variant: Variant) -> Cell:
    options = [*setting_options(sweep, method), *sweep.options, *variant.options]
    options += seed_options(sweep, setting.cfg_path, seed)
    start = start_of(sweep, setting, seed)
    if start != start_of(sweep, setting, None):
        options.append(f"run.resume_ckpt_path={start.as_posix()}")
    if variant.subfolder:
        options.append(f"run.subfolder={variant.subfolder}")
    flags: dict[str, Any] = {"method": method, "df_size": setting.df_size}
    config = compose(setting.cfg_path, tuple(options), tuple(jobs_of(method)), **flags)
    trainer = registry.get_trainer_class(method)
    flags = {"unlearn_method": method, "backbone": setting.backbone, "task": setting.task, "df_size": setting.df_size}
    argv = command("unlearn.py", setting.cfg_path, options, **flags)
    used = int(config.run.seed)
    name = " · ".join([method + variant.label, setting.backbone, setting.task, str(setting.df_size), f"seed {used}"])
    folder = run_folder(config.run, setting.backbone, setting.task, setting.df_size)
    inputs = (Path(config.run.resume_ckpt_path or start),)
    job = Job(name, argv, folder, log_path(config.run, name), inputs, _expected(config, trainer))
    return Cell(method, setting.backbone, setting.task, setting.df_size, used, setting.cfg_path, job, variant)


def _expected(config: Config, trainer: Any) -> dict[str, Any]:
    """The configuration that the results should record; a one-shot method has no epochs."""
    content = config.to_dict()
    if trainer.runner == "once":
        del content["run"]["max_epoch"]
    return content


def command(script: str, cfg_path: str, options: list[str], **flags: Any) -> tuple[str, ...]:
    """The argument list that runs an entry script with this interpreter."""
    words = [sys.executable, os.path.relpath(ROOT / script)]
    for flag, value in flags.items():
        words += [f"--{flag}", str(value)]
    words += ["--cfg-path", cfg_path]
    return tuple(words + (["--options", *options] if options else []))


def log_path(run: RunConfig, name: str) -> Path:
    """`<output>/logs/<name>.log` with a name that is safe on every file system."""
    return Path(run.output_dir) / "logs" / (re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.") + ".log")
