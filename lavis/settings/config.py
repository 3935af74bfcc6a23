"""Composes YAML and options into one typed, validated, frozen configuration.

Merge order, later wins: dataclass defaults, the type `model.model_type` of `lavis/configs/models/<arch>.yaml`,
`lavis/configs/datasets/<name>/defaults.yaml`, `lavis/configs/methods/<method>.yaml`, the user's file, its
`run.jobs.<job>` section, the command line's `--options`. An unknown key fails before anything is built.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lavis.common.errors import ConfigError, suggest
from lavis.common.home import home_path
from lavis.common.registry import registry
from lavis.settings.data_schema import DatasetConfig
from lavis.settings.declaration import NOTHING, declared
from lavis.settings.layers import (
    Layer,
    dataset_defaults,
    dataset_layers,
    model_layers,
    naming,
    read_sources,
    run_layers,
)
from lavis.settings.schema import ModelConfig, RunConfig
from lavis.settings.validation import make, read

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """A composed configuration.

    `source` is the user's file, `job_name` the task's name on the command line ("salmu_retrieval"), `flags` the run
    settings that command-line flags set.
    """

    model: ModelConfig
    datasets: dict[str, DatasetConfig]
    run: RunConfig
    source: Path
    job_name: str
    flags: frozenset[str] = frozenset()

    @property
    def backbone(self) -> str:
        """The architecture's family, used in --backbone and in folder names: clip, albef, blip."""
        return registry.get_model_class(self.model.arch).family

    @property
    def dataset_name(self) -> str:
        return next(iter(self.datasets))

    @property
    def dataset(self) -> DatasetConfig:
        return self.datasets[self.dataset_name]

    def unread(self) -> list[str]:
        """A message for each setting that was given and that nothing in this run reads."""
        run = dataclasses.asdict(self.run)
        sections = {"model": self.model, f"datasets.{self.dataset_name}": self.dataset, "run": self.run}
        return [
            f"{prefix}.{name} is accepted and changes nothing here: {item.about.ignored}"
            for prefix, section in sections.items()
            for name, item in declared(type(section)).items()
            if item.about.ignored and item.about.reach(run, f"{prefix}.{name}") == NOTHING
            if getattr(section, name) != item.default or (prefix == "run" and name in self.flags)
        ]

    def to_dict(self, **found: Any) -> dict[str, Any]:
        """Plain containers, for logs and checkpoints; `found` are settings that the run determined (df_size=630)."""
        run = dataclasses.asdict(self.run) | found
        datasets = {name: dataclasses.asdict(section) for name, section in self.datasets.items()}
        return {"model": dataclasses.asdict(self.model), "run": run, "datasets": datasets}


def check_backbone(name: str) -> None:
    """Raise ConfigError unless a registered model belongs to this family."""
    families = sorted({registry.get_model_class(arch).family for arch in registry.names("model")})
    if name not in families:
        raise ConfigError(f"unknown backbone '{name}'; {suggest(name, families)}")


def load_config(cfg_path: str | Path, options: Sequence[str] = (), job: Sequence[str] = (), **flags: Any) -> Config:
    """Compose and validate one configuration.

    Args:
        cfg_path: the user's YAML file.
        options: dot-list overrides ("run.max_epoch=1").
        job: names whose `run.jobs.<name>` sections apply, in order; the last method among them is the one that trains.
        flags: run keys from command-line flags, which win over the file but not over `options`; None means not given.

    Raises ConfigError (unknown key, wrong type or value) and MissingFile.
    """
    path = home_path(cfg_path)
    sources = read_sources(path, options)
    given = {key: value for key, value in flags.items() if value is not None}
    model, datasets, run = compose_model(sources), _compose_datasets(sources), _compose_run(sources, job, given)
    config = Config(model, datasets, run, path, _job_name(datasets, run, path), frozenset(given))
    with naming(f"{path} with --options" if options else path):
        _check_names(config)
        _check_training(config, job)
    return config


def compose_model(sources: Sequence[Layer]) -> ModelConfig:
    """`model:` from (source, content) layers, a named type of the package below them. Raises ConfigError."""
    return _merged(*model_layers(sources), "model")


def _compose_datasets(sources: Sequence[Layer]) -> dict[str, DatasetConfig]:
    name, layers = dataset_layers(sources)
    return {name: compose_dataset(name, layers)}


def compose_dataset(name: str, sources: Sequence[Layer] = ()) -> DatasetConfig:
    """`datasets.<name>` from the package's defaults and then (source, keys) layers. Raises ConfigError."""
    builder = registry.get_builder_class(name)
    layers = [*dataset_defaults(name), *sources]
    dataset = _merged(builder.config_class, layers, f"datasets.{name}")
    with naming(_latest(layers)):
        builder.check(dataset)
    return dataset


def _compose_run(sources: Sequence[Layer], job: Sequence[str], flags: dict[str, Any]) -> RunConfig:
    return _merged(RunConfig, run_layers(sources, job, flags), "run")


def _merged(section: type[T], layers: Sequence[Layer], prefix: str) -> T:
    """A section from its layers; later ones win. Raises ConfigError that names the wrong layer."""
    values: dict[str, Any] = {}
    for source, layer in layers:
        with naming(source):
            values = _overlaid(values, read(section, layer, prefix))
    with naming(_latest(layers)):
        return make(section, values)


def _overlaid(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """Merge two mappings: `high` wins, and nested mappings are merged."""
    nested = {
        key: _overlaid(low[key], value)
        for key, value in high.items()
        if isinstance(value, dict) and isinstance(low.get(key), dict)
    }
    return {**low, **high, **nested}


def _latest(layers: Sequence[Layer]) -> str:
    """The last source with any settings: if several contradict each other, it is the most likely cause."""
    return next((source for source, layer in reversed(layers) if layer), "defaults")


def _job_name(datasets: dict[str, DatasetConfig], run: RunConfig, path: Path) -> str:
    name = next(iter(datasets))
    jobs = registry.get_builder_class(name).job_names
    for job, task in jobs.items():
        if task == run.task:
            return job
    raise ConfigError(f"{path}: data set '{name}' has no task '{run.task}'; {suggest(run.task, jobs.values())}")


def _check_names(config: Config) -> None:
    """Raise ConfigError for unregistered names, and for settings that the task does not support."""
    run = config.run
    names = {"runner": ("runner", run.runner), "lr_sched": ("lr_scheduler", run.lr_sched)}
    if run.method is not None and "method" not in config.flags:
        names["method"] = ("trainer", run.method)
    for key, (kind, name) in names.items():
        with naming(f"run.{key}"):
            registry.get(kind, name)
    for name in run.tracker:
        with naming("run.tracker"):
            registry.get_tracker_class(name)
    registry.get_task_class(run.task).check(config)


def _check_training(config: Config, job: Sequence[str]) -> None:
    """Raise ConfigError for settings that the method or runner does not support, if the configuration trains one."""
    methods = [name for name in job if name in registry.names("trainer")]
    if methods:
        model = registry.get_model_class(config.model.arch)
        registry.get_trainer_class(methods[-1]).check(methods[-1], config.run, model)
        registry.get_runner_class(config.run.runner).check(config.run, model)
