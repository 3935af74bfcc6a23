"""Composes YAML and options into one typed, validated, frozen configuration.

Merge order, later wins: dataclass defaults, the type `model.model_type` of `lavis/configs/models/<arch>.yaml`,
`lavis/configs/datasets/<name>/defaults.yaml`, `lavis/configs/methods/<method>.yaml`, the user's file, its
`run.jobs.<job>` section, the command line's `--options`. An unknown key fails before anything is built.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lavis.common.errors import ConfigError, MissingFile, suggest
from lavis.common.registry import registry
from lavis.settings.declaration import NOTHING, declared
from lavis.settings.schema import REFERENCE_JOBS, DatasetConfig, ModelConfig, RunConfig
from lavis.settings.validation import make, read

SECTIONS = ("model", "datasets", "run")
DEFAULTS = Path(__file__).resolve().parent.parent / "configs"
T = TypeVar("T")
Layer = tuple[str, dict[str, Any]]  # the source of some settings, and the settings


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
    path = Path(cfg_path)
    sources = [(str(path), _read_yaml(path)), ("--options", _read_options(options))]
    for name, content in sources:
        _check_sections(content, name)
    given = {key: value for key, value in flags.items() if value is not None}
    model, datasets, run = compose_model(sources), _compose_datasets(sources), _compose_run(sources, job, given)
    config = Config(model, datasets, run, path, _job_name(datasets, run, path), frozenset(given))
    with _naming(f"{path} with --options" if options else path):
        _check_names(config)
        _check_training(config, job)
    return config


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingFile(f"configuration file {path} does not exist; the project's own are under configs/")
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must have the sections {', '.join(SECTIONS)}, found a {type(content).__name__}")
    return content


def _read_options(options: Sequence[str]) -> dict[str, Any]:
    for option in options:
        if "=" not in option:
            raise ConfigError(f"--options takes key=value pairs such as run.max_epoch=1, got '{option}'")
    try:
        content: Any = OmegaConf.to_container(OmegaConf.from_dotlist(list(options)), resolve=True)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"--options cannot be read: {error}") from error
    return content


def _check_sections(content: dict[str, Any], source: str) -> None:
    for key, value in content.items():
        if key not in SECTIONS:
            raise ConfigError(f"{source}: unknown section '{key}'; {suggest(key, SECTIONS)}")
        if not isinstance(value, dict):
            raise ConfigError(f"{source}: section '{key}' must be a mapping, found {value!r}")


def compose_model(sources: Sequence[Layer]) -> ModelConfig:
    """`model:` from (source, content) layers, a named type of the package below them. Raises ConfigError."""
    layers = [(name, content.get("model", {})) for name, content in sources]
    source, arch = _given_last(layers, "arch", ModelConfig.arch)
    with _naming(f"{source}: model.arch"):
        section = registry.get_model_class(arch).config_class
    source, named = _given_last(layers, "model_type", ModelConfig.model_type)
    with _naming(f"{source}: model.model_type"):
        layers = [*_type_defaults(arch, named), *layers]
    return _merged(section, layers, "model")


def _given_last(layers: Sequence[Layer], key: str, default: Any) -> tuple[str, Any]:
    """The last source that gives a setting, and the value; "defaults" if none does."""
    return next(((source, layer[key]) for source, layer in reversed(layers) if key in layer), ("defaults", default))


def _type_defaults(arch: str, named: Any) -> list[Layer]:
    """The settings of an architecture's named type; none if the package has no types (clip's are open_clip's)."""
    for source, types in _package_defaults("models", f"{arch}.yaml", "types") if named else []:
        if named not in list(types):
            raise ConfigError(f"'{arch}' has no type '{named}'; {suggest(str(named), types)}")
        return [(f"{source}: {named}", types[named])]
    return []


def _compose_datasets(sources: Sequence[Layer]) -> dict[str, DatasetConfig]:
    given = [(source, content.get("datasets", {})) for source, content in sources]
    names = list(dict.fromkeys(name for _, datasets in given for name in datasets))
    if len(names) != 1:
        raise ConfigError(f"{sources[0][0]}: 'datasets' must name exactly one data set, found {names or 'none'}")
    (name,) = names
    return {name: compose_dataset(name, [(source, _or_empty(datasets.get(name))) for source, datasets in given])}


def compose_dataset(name: str, sources: Sequence[Layer] = ()) -> DatasetConfig:
    """`datasets.<name>` from the package's defaults and then (source, keys) layers. Raises ConfigError."""
    builder = registry.get_builder_class(name)
    layers = [*_package_defaults("datasets", f"{name}/defaults.yaml"), *sources]
    dataset = _merged(builder.config_class, layers, f"datasets.{name}")
    with _naming(_latest(layers)):
        builder.check(dataset)
    return dataset


def _compose_run(sources: Sequence[Layer], job: Sequence[str], flags: dict[str, Any]) -> RunConfig:
    (path, user), (option_name, options) = sources
    layers = [
        *(layer for name in job for layer in _package_defaults("methods", f"{name}.yaml", "run")),
        (path, user.get("run", {})),
        *_job_layers(path, user, job),
        ("command line", flags),
        *_job_layers(option_name, options, job),
        (option_name, options.get("run", {})),
    ]
    return _merged(RunConfig, layers, "run")


def _job_layers(source: str, content: dict[str, Any], job: Sequence[str]) -> list[Layer]:
    """The sections `run.jobs.<name>` that apply; all of them are checked. Raises ConfigError."""
    with _naming(source):
        jobs = read(RunConfig, {"jobs": content.get("run", {}).get("jobs", {})}, "run")["jobs"]
        known = [*REFERENCE_JOBS, *registry.names("trainer")]
        for name, section in jobs.items():
            if name not in known:
                raise ConfigError(f"unknown job 'run.jobs.{name}'; {suggest(name, known)}")
            given = read(RunConfig, _or_empty(section), f"run.jobs.{name}")
            if name in registry.names("trainer"):
                arguments = registry.get_trainer_class(name).params_class
                read(arguments, given.get("method_args", {}), f"run.jobs.{name}.method_args")
    return [(f"{source}: run.jobs.{name}", _or_empty(jobs[name])) for name in job if name in jobs]


def _or_empty(section: Any) -> Any:
    """Read a section that the file leaves empty (`salmu:`) as one without settings."""
    return {} if section is None else section


def _package_defaults(room: str, name: str, section: str | None = None) -> list[Layer]:
    path = DEFAULTS / room / name
    if not path.is_file():
        return []
    content = _read_yaml(path)
    return [(f"lavis/configs/{room}/{name}", content.get(section, {}) if section else content)]


def _merged(section: type[T], layers: Sequence[Layer], prefix: str) -> T:
    """A section from its layers; later ones win. Raises ConfigError that names the wrong layer."""
    values: dict[str, Any] = {}
    for source, layer in layers:
        with _naming(source):
            values = _overlaid(values, read(section, layer, prefix))
    with _naming(_latest(layers)):
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


@contextlib.contextmanager
def _naming(source: str | Path) -> Iterator[None]:
    """Prefix the message of a ConfigError with the source of the settings."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


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
        with _naming(f"run.{key}"):
            registry.get(kind, name)
    registry.get_task_class(run.task).check(config)


def _check_training(config: Config, job: Sequence[str]) -> None:
    """Raise ConfigError for settings that the method or runner does not support, if the configuration trains one."""
    methods = [name for name in job if name in registry.names("trainer")]
    if methods:
        model = registry.get_model_class(config.model.arch)
        registry.get_trainer_class(methods[-1]).check(methods[-1], config.run, model)
        registry.get_runner_class(config.run.runner).check(config.run, model)
