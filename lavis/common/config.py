"""From YAML and options to one typed, validated configuration.

Merge order, later wins: dataclass defaults, `lavis/configs/models/<arch>.yaml`,
`lavis/configs/datasets/<name>/defaults.yaml`, `lavis/configs/methods/<method>.yaml`, the user's file, its
`run.jobs.<job>` section, the command line's `--options`. An unknown key fails before anything is built.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lavis.common.errors import ConfigError, MissingFile, suggest
from lavis.common.registry import registry
from lavis.common.schema import (
    CHOICES,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_IF_SET,
    REFERENCE_JOBS,
    RETIRED,
    DatasetConfig,
    ModelConfig,
    RunConfig,
)

SECTIONS = ("model", "datasets", "run")
DEFAULTS = Path(__file__).resolve().parent.parent / "configs"


@dataclass
class Config:
    """A composed configuration; `model`, `dataset` and `run` are typed OmegaConf nodes.

    `source` is the user's file, `job_name` the command-line name of the task ("salmu_retrieval").
    """

    model: Any
    datasets: dict[str, Any]
    run: Any
    source: Path
    job_name: str

    @property
    def backbone(self) -> str:
        """The architecture's family, the name of --backbone and of folders: clip, albef, blip."""
        return registry.get_model_class(self.model.arch).family

    @property
    def dataset_name(self) -> str:
        return next(iter(self.datasets))

    @property
    def dataset(self) -> Any:
        return self.datasets[self.dataset_name]

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for logs and checkpoints."""
        plain = {"model": OmegaConf.to_container(self.model), "run": OmegaConf.to_container(self.run)}
        plain["datasets"] = {name: OmegaConf.to_container(node) for name, node in self.datasets.items()}
        return plain


def check_backbone(name: str) -> None:
    """Refuse what is no family of a registered model. Raises ConfigError with those there are."""
    families = sorted({registry.get_model_class(arch).family for arch in registry.names("model")})
    if name not in families:
        raise ConfigError(f"unknown backbone '{name}'; {suggest(name, families)}")


def load_config(cfg_path: str | Path, options: Sequence[str] = (), job: Sequence[str] = (), **flags: Any) -> Config:
    """Compose and validate one configuration.

    Args:
        cfg_path: the user's YAML file.
        options: dot-list overrides ("run.max_epoch=1").
        job: names whose `run.jobs.<name>` sections apply, in order.
        flags: run keys that command-line flags set (they win over the file, not over `options`).

    Raises ConfigError (unknown key, wrong type or value) and MissingFile.
    """
    path = Path(cfg_path)
    user = _read_yaml(path)
    extra = _read_options(options)
    sources = [(str(path), user), ("--options", extra)]
    _check_sections(user, str(path))
    _check_sections(extra, "--options")
    model = _compose_model(sources)
    datasets = _compose_datasets(sources)
    run = _compose_run(sources, job, flags)
    config = Config(model, datasets, run, path, _job_name(datasets, run, path))
    _check_values(config)
    return config


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingFile(f"configuration file {path} does not exist; the project's own lie under configs/")
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold the sections {', '.join(SECTIONS)}, found a {type(content).__name__}")
    return content


def _read_options(options: Sequence[str]) -> dict[str, Any]:
    for option in options:
        if "=" not in option:
            raise ConfigError(f"--options takes key=value pairs (run.max_epoch=1), got '{option}'")
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


def _compose_model(sources: list[tuple[str, dict[str, Any]]]) -> Any:
    arch = _last(sources, "model", "arch", ModelConfig.arch)
    schema = getattr(registry.get_model_class(arch), "config_class", ModelConfig)
    layers = _package_defaults("models", f"{arch}.yaml")
    layers += [(name, content.get("model", {})) for name, content in sources]
    return _merge(schema, layers, "model")


def _compose_datasets(sources: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for _, content in sources for name in content.get("datasets", {})))
    if len(names) != 1:
        raise ConfigError(f"{sources[0][0]}: 'datasets' must name exactly one data set, found {names or 'none'}")
    return {
        name: compose_dataset(name, [(s, c.get("datasets", {}).get(name) or {}) for s, c in sources]) for name in names
    }


def compose_dataset(name: str, sources: Sequence[tuple[str, dict[str, Any]]] = ()) -> Any:
    """`datasets.<name>`: the package's defaults under (source, keys) layers. Raises ConfigError."""
    schema = getattr(registry.get_builder_class(name), "config_class", DatasetConfig)
    layers = [*_package_defaults("datasets", f"{name}/defaults.yaml"), *sources]
    return _merge(schema, [(source, _listed(layer)) for source, layer in layers], f"datasets.{name}")


def _listed(layer: dict[str, Any]) -> dict[str, Any]:
    """`storage: file` means `storage: [file]` for annotations."""
    annotations = (layer.get("build_info") or {}).get("annotations") or {}
    for node in annotations.values():
        if isinstance(node, dict) and isinstance(node.get("storage"), str):
            node["storage"] = [node["storage"]]
    return layer


def _compose_run(sources: list[tuple[str, dict[str, Any]]], job: Sequence[str], flags: dict[str, Any]) -> Any:
    (path, user), (option_name, options) = sources
    given = {key: value for key, value in flags.items() if value is not None}
    jobs = user.get("run", {}).get("jobs") or {}
    own = options.get("run", {}).get("jobs") or {}
    layers = [layer for name in job for layer in _package_defaults("methods", f"{name}.yaml", "run")]
    layers.append((path, user.get("run", {})))
    layers += [(f"{path}: run.jobs.{name}", jobs[name] or {}) for name in job if name in jobs]
    layers.append(("command line", given))
    layers += [(f"{option_name}: run.jobs.{name}", own[name] or {}) for name in job if name in own]
    layers.append((option_name, options.get("run", {})))
    for source, sections in ((path, jobs), (option_name, own)):
        _check_jobs(sections, source)
    return _merge(RunConfig, layers, "run")


def _check_jobs(sections: dict[str, Any], source: str) -> None:
    known = [*REFERENCE_JOBS, *registry.names("trainer")]
    for name, section in sections.items():
        if name not in known:
            raise ConfigError(f"{source}: unknown job 'run.jobs.{name}'; {suggest(name, known)}")
        _check_keys(RunConfig, section or {}, f"run.jobs.{name}", source)


def _package_defaults(room: str, name: str, section: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    path = DEFAULTS / room / name
    if not path.is_file():
        return []
    content = _read_yaml(path)
    return [(f"lavis/configs/{room}/{name}", content.get(section, {}) if section else content)]


def _last(sources: list[tuple[str, dict[str, Any]]], section: str, key: str, default: Any) -> Any:
    values = [content[section][key] for _, content in sources if key in content.get(section, {})]
    return values[-1] if values else default


def _merge(schema: type, layers: list[tuple[str, dict[str, Any]]], prefix: str) -> Any:
    node = OmegaConf.structured(schema)
    for source, layer in layers:
        _check_keys(schema, layer, prefix, source)
        try:
            node = OmegaConf.merge(node, layer)
        except OmegaConfBaseException as error:
            key = getattr(error, "full_key", None) or "?"
            reason = str(error).splitlines()[0]
            raise ConfigError(f"{source}: {prefix}.{key}: {reason}") from error
    return node


def _check_keys(schema: type, layer: dict[str, Any], prefix: str, source: str) -> None:
    """Every key of `layer` must be a field of the dataclass `schema`, at any depth."""
    hints = typing.get_type_hints(schema)
    names = [f.name for f in dataclasses.fields(schema)]
    for key, value in layer.items():
        if key not in names:
            retired = RETIRED.get(str(key)) if schema is RunConfig else None
            hint = f"it is not a setting here: {retired}" if retired else suggest(str(key), names)
            raise ConfigError(f"{source}: unknown key '{prefix}.{key}'; {hint}")
        inner = _inner_schema(hints[key])
        if inner is None or value is None:
            continue
        if not isinstance(value, dict):
            raise ConfigError(f"{source}: '{prefix}.{key}' must be a mapping, found {value!r}")
        keyed = typing.get_origin(hints[key]) is dict
        for name, child in value.items() if keyed else [("", value)]:
            if not isinstance(child, dict):
                raise ConfigError(f"{source}: '{prefix}.{key}.{name}' must be a mapping, found {child!r}")
            _check_keys(inner, child, f"{prefix}.{key}" + (f".{name}" if keyed else ""), source)


def _inner_schema(hint: Any) -> type | None:
    """The dataclass behind a field: itself, or the value type of a dict of dataclasses."""
    if dataclasses.is_dataclass(hint):
        return typing.cast(type, hint)
    values = typing.get_args(hint)
    if typing.get_origin(hint) is dict and dataclasses.is_dataclass(values[1]):
        return values[1]
    return None


def _job_name(datasets: dict[str, Any], run: Any, path: Path) -> str:
    name = next(iter(datasets))
    jobs = registry.get_builder_class(name).job_names
    for job, task in jobs.items():
        if task == run.task:
            return job
    raise ConfigError(f"{path}: data set '{name}' has no task '{run.task}'; {suggest(run.task, jobs.values())}")


def _check_values(config: Config) -> None:
    run, source = config.run, config.source
    registry.get_task_class(run.task)
    registry.get_runner_class(run.runner)
    registry.get_lr_scheduler_class(run.lr_sched)
    for key, choices in CHOICES.items():
        value = run[key.split(".", 1)[1]]
        if value not in choices:
            raise ConfigError(f"{source}: {key} is '{value}'; {suggest(value, choices)}")
    for key in POSITIVE:
        if run[key] < 1:
            raise ConfigError(f"{source}: run.{key} must be at least 1, found {run[key]}")
    for key in POSITIVE_IF_SET:
        if run[key] is not None and not run[key] > 0:
            raise ConfigError(f"{source}: run.{key} must be positive or null, found {run[key]}")
    for key in ("init_lr", "min_lr", "weight_decay"):
        if not math.isfinite(run[key]):
            raise ConfigError(f"{source}: run.{key} must be a finite number, found {run[key]}")
    for key in NOT_NEGATIVE:
        if run[key] < 0:
            raise ConfigError(f"{source}: run.{key} must not be negative, found {run[key]}")
