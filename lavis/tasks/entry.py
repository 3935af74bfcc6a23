"""From a command line to a task's result: compose the configuration, check the names, run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lavis.common import distributed
from lavis.common.errors import ConfigError, UserFault, suggest
from lavis.common.logger import get_logger
from lavis.common.registry import registry
from lavis.runners.stop import EXIT_CODE, Stopped
from lavis.settings.config import Config, check_backbone, load_config
from lavis.tasks.base import BaseTask
from lavis.tasks.checkpoints import checkpoint_origin
from lavis.tasks.comparison import Comparison, distinct_labels
from lavis.tasks.run_result import RunResult


def train(cfg_path: str, options: Sequence[str]) -> RunResult:
    """train.py: train a reference model."""
    reference = load_config(cfg_path, options).run.reference
    return _run(load_config(cfg_path, options, job=["original", reference]), BaseTask.train)


def unlearn(cfg_path: str, options: Sequence[str], backbone: str, task: str, flags: dict[str, Any]) -> RunResult:
    """unlearn.py: run a method. Raises ConfigError if a flag does not fit the configuration."""
    trainer_class = registry.get_trainer_class(flags["method"])
    check_backbone(backbone)
    known = {job for name in registry.names("builder") for job in registry.get_builder_class(name).job_names}
    if task not in known:
        raise ConfigError(f"unknown task '{task}'; {suggest(task, known)}")
    config = load_config(cfg_path, options, job=jobs_of(flags["method"]), **flags)
    _agree("--backbone", backbone, f"model.arch {config.model.arch}, a backbone named", config.backbone, config)
    _agree("--task", task, "data set and run.task, hence", config.job_name, config)
    if config.run.train_on_holdout and trainer_class.starts_from != "initial":
        raise ConfigError(
            f"{config.source}: run.train_on_holdout is for train.py and for methods that train from scratch; "
            "unlearning sees no holdout split"
        )
    return _run(config, BaseTask.unlearn)


def evaluate(cfg_path: str, options: Sequence[str]) -> Comparison:
    """evaluate.py: evaluate run.checkpoint, or each of run.checkpoints.

    A checkpoint's method, df_size and seeds are those of the run that wrote it. If one of several fails, one line
    reports it immediately, and the others are still evaluated.
    """
    run = load_config(cfg_path, options).run
    if run.checkpoint and run.checkpoints:
        raise ConfigError("name the weights in run.checkpoint or in run.checkpoints, not in both")
    table = Comparison(several=bool(run.checkpoints))
    if not run.checkpoints:
        table.add("", _evaluated(cfg_path, options, run.checkpoint))
        return table
    distributed.setup(distributed.resolve_device(run.device))  # once: the process group serves all checkpoints
    try:
        for path, label in distinct_labels(run.checkpoints).items():
            try:
                table.add(label, _evaluated(cfg_path, options, path, label))
            except UserFault as error:
                table.fail(label, path, error)
        return table
    finally:
        distributed.shutdown()


def jobs_of(method: str) -> list[str]:
    """Sections of run.jobs that apply to a method; for an ablation (vlul-md), its method's section comes first."""
    base = method.split("-", 1)[0]
    related = base != method and registry.get_trainer_class(base) is registry.get_trainer_class(method)
    return [base, method] if related else [method]


def _evaluated(cfg_path: str, options: Sequence[str], path: str | None, label: str = "") -> RunResult:
    origin = checkpoint_origin(path) if path else {}
    flags = {key: origin[key] for key in ("method", "reference", "df_size", "df_seed", "seed") if key in origin}
    return _run(load_config(cfg_path, options, checkpoint=path, **flags), lambda task: task.evaluate(label))


def _run(config: Config, action: Callable[[BaseTask], RunResult]) -> RunResult:
    """Build the configuration's task and run an action on it. If SIGTERM stops it, exit with EXIT_CODE."""
    task = registry.get_task_class(config.run.task)(config)
    try:
        return action(task)
    except Stopped as stopped:
        get_logger().info("%s", stopped)
        raise SystemExit(EXIT_CODE) from None


def _agree(flag: str, given: str, key: str, configured: str, config: Config) -> None:
    if given != configured:
        raise ConfigError(f"{flag} is '{given}' but {config.source} has {key} '{configured}'")
