"""The layers of a configuration: YAML files, the package's defaults and options, with the source of each."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lavis.common.errors import ConfigError, one_line, suggest
from lavis.common.files import SMALL, read_text
from lavis.common.registry import registry
from lavis.settings.schema import REFERENCE_JOBS, ModelConfig, RunConfig
from lavis.settings.validation import read

SECTIONS = ("model", "datasets", "run")
DEFAULTS = Path(__file__).resolve().parent.parent / "configs"
Layer = tuple[str, dict[str, Any]]  # (source of settings, the settings)


def read_sources(cfg_path: str | Path, options: Sequence[str]) -> list[Layer]:
    """The user's file and the options, as mappings of known sections. Raises ConfigError, MissingFile."""
    sources = [(str(cfg_path), _read_yaml(Path(cfg_path))), ("--options", _read_options(options))]
    for name, content in sources:
        _check_sections(content, name)
    return sources


def _read_yaml(path: Path) -> dict[str, Any]:
    text = read_text(path, "configuration file", "the project's own are under configs/", SMALL)
    if not text.strip():
        raise ConfigError(f"{path} is empty; write the sections {', '.join(SECTIONS)}, as in configs/")
    try:
        content: Any = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=True)
    except (yaml.YAMLError, OmegaConfBaseException, RecursionError, ValueError, OSError) as error:
        raise ConfigError(f"{path} is not valid YAML: {one_line(error)}; fix or rewrite the file") from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} must have the sections {', '.join(SECTIONS)}, found a {type(content).__name__}; see configs/"
        )
    return content


def _read_options(options: Sequence[str]) -> dict[str, Any]:
    for option in options:
        if "=" not in option:
            raise ConfigError(f"--options takes key=value pairs such as run.max_epoch=1, got '{option}'")
    try:
        content: Any = OmegaConf.to_container(OmegaConf.from_dotlist(list(options)), resolve=True)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeEncodeError) as error:
        raise ConfigError(f"--options cannot be read: {error}") from error
    return content


def _check_sections(content: dict[str, Any], source: str) -> None:
    for key, value in content.items():
        if key not in SECTIONS:
            raise ConfigError(f"{source}: unknown section '{key}'; {suggest(key, SECTIONS)}")
        if not isinstance(value, dict):
            raise ConfigError(f"{source}: section '{key}' must be a mapping, found {value!r}")


def model_layers(sources: Sequence[Layer]) -> tuple[type[ModelConfig], list[Layer]]:
    """The class of `model:`, and its layers. Raises ConfigError for an unknown architecture or type."""
    layers = [(name, content.get("model", {})) for name, content in sources]
    source, arch = _given_last(layers, "arch", ModelConfig.arch)
    with naming(f"{source}: model.arch"):
        section = registry.get_model_class(arch).config_class
    source, named = _given_last(layers, "model_type", ModelConfig.model_type)
    with naming(f"{source}: model.model_type"):
        return section, [*_type_defaults(arch, named), *layers]


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


def dataset_layers(sources: Sequence[Layer]) -> tuple[str, list[Layer]]:
    """The one data set's name, and its layers above the package's defaults. Raises ConfigError."""
    given = [(source, content.get("datasets", {})) for source, content in sources]
    names = list(dict.fromkeys(name for _, datasets in given for name in datasets))
    if len(names) != 1:
        raise ConfigError(f"{sources[0][0]}: 'datasets' must name exactly one data set, found {names or 'none'}")
    (name,) = names
    return name, [(source, _or_empty(datasets.get(name))) for source, datasets in given]


def dataset_defaults(name: str) -> list[Layer]:
    """The package's defaults of a data set."""
    return _package_defaults("datasets", f"{name}/defaults.yaml")


def run_layers(sources: Sequence[Layer], job: Sequence[str], flags: dict[str, Any]) -> list[Layer]:
    """The layers of `run:`. Raises ConfigError for a section of run.jobs that is no job's."""
    (path, user), (option_name, options) = sources
    return [
        *(layer for name in job for layer in _package_defaults("methods", f"{name}.yaml", "run")),
        (path, user.get("run", {})),
        *_job_layers(path, user, job),
        ("command line", flags),
        *_job_layers(option_name, options, job),
        (option_name, options.get("run", {})),
    ]


def _job_layers(source: str, content: dict[str, Any], job: Sequence[str]) -> list[Layer]:
    """The sections `run.jobs.<name>` that apply; all of them are checked. Raises ConfigError."""
    with naming(source):
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


@contextlib.contextmanager
def naming(source: str | Path) -> Iterator[None]:
    """Prefix the message of a ConfigError with the source of the settings."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
