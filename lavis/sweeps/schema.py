"""The sweep file: which methods, backbones, tasks, forget-set sizes and seeds to cross."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lavis.common.errors import ConfigError, one_line, suggest
from lavis.common.files import SMALL, read_text
from lavis.common.home import home_path
from lavis.report.verdicts import VerdictRules
from lavis.settings.schema import REFERENCES

REFERENCE_SEEDS = ("configured", "each")
LAUNCHERS = ("local", "slurm")


@dataclass
class SweepConfig:
    """A sweep; all lists are crossed (`budgets` only with methods that make passes over Df).

    `cfg_path` is one experiment file, or maps tasks (or "backbone/task") to files.
    """

    cfg_path: str | dict[str, str]
    methods: list[str]
    backbones: list[str] = field(default_factory=lambda: ["clip"])
    tasks: list[str] = field(default_factory=list)  # empty: the task of cfg_path
    df_sizes: list[int] = field(default_factory=list)  # empty: the run.df_size of cfg_path
    seeds: list[int] = field(default_factory=list)  # empty: the run.seed of cfg_path
    budgets: list[int] = field(default_factory=list)  # passes over Df, run.max_epoch; empty: that of cfg_path
    settings: dict[str, Any] = field(default_factory=dict)  # method -> {run: {key: value}}
    grid: dict[str, Any] = field(default_factory=dict)  # method -> {run key: [values]}, crossed; or a list of these
    search: dict[str, Any] = field(default_factory=dict)  # for --search: see lavis.sweeps.candidates.Rule
    options: list[str] = field(default_factory=list)  # passed on to every job, as on the command line
    references: list[str] = field(default_factory=lambda: list(REFERENCES))  # models the report compares with
    checkpoints: dict[str, str] = field(default_factory=dict)  # reference -> weights, for those not trained here
    reference_seeds: str = "configured"  # or each: references for every seed, and unlearning starts from its seed's
    launcher: str = "local"  # local | slurm (through submitit)
    slurm: dict[str, Any] = field(default_factory=dict)  # parameters of submitit's executor
    verdict: dict[str, Any] = field(default_factory=dict)  # thresholds: lavis.report.verdicts.VerdictRules
    report_dir: str = "output/report"
    gallery: int = 8  # portraits in the report's gallery; 0: none
    show_people: bool = False  # also portraits of data sets that are not drawn (--show-people)
    public: bool = False  # a report to hand on (--public): no portraits of real people, no paths, no commands
    source: str = "sweep"  # the file this was read from

    def made_public(self, folder: str | None = None) -> SweepConfig:
        """The sweep with a report to hand on, in a folder of its own, next to the other report without `folder`."""
        return dataclasses.replace(self, public=True, report_dir=folder or f"{self.report_dir.rstrip('/')}-public")

    def path_for(self, backbone: str, task: str) -> str:
        """The experiment file of a backbone and task (the task is "" if the sweep names none). Raises ConfigError."""
        if isinstance(self.cfg_path, str):
            return self.cfg_path
        for key in (f"{backbone}/{task}", task, backbone):
            if key in self.cfg_path:
                return self.cfg_path[key]
        wanted = f"{backbone}/{task}" if task else backbone
        raise ConfigError(f"{self.source}: cfg_path has no file for '{wanted}'; {suggest(wanted, self.cfg_path)}")


LISTS = {
    **dict.fromkeys(("methods", "backbones", "tasks", "options", "references"), str),
    **dict.fromkeys(("df_sizes", "seeds", "budgets"), int),
}
REQUIRED = ("cfg_path", "methods")


def load_sweep(path: str | Path) -> SweepConfig:
    """Read and validate a sweep file. Raises MissingFile and ConfigError (naming file, key and what is valid)."""
    path = home_path(path)
    text = read_text(path, "sweep file", "the project's own are in configs/sweep/", SMALL)
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path} is not valid YAML: {one_line(error)}; fix or rewrite the file") from error
    return sweep_from_dict(content, str(path))


def sweep_from_dict(content: Any, source: str) -> SweepConfig:
    """Validate the content of a sweep file; `source` names it in messages."""
    names = [entry.name for entry in dataclasses.fields(SweepConfig) if entry.name != "source"]
    if not isinstance(content, dict):
        raise ConfigError(
            f"{source} must have keys such as {', '.join(names[:5])}, found {type(content).__name__}; see configs/sweep"
        )
    for key in content:
        if key not in names:
            raise ConfigError(f"{source}: unknown key '{key}'; {suggest(str(key), names)}")
    for key in REQUIRED:
        if not content.get(key):
            raise ConfigError(f"{source}: '{key}' is missing or empty")
    for key, kind in LISTS.items():
        if key in content:
            content[key] = _checked_list(content[key], key, kind, source)
    sweep = SweepConfig(**content, source=source)
    _check_single_values(sweep)
    _check_methods(sweep)
    return sweep


def _checked_list(value: Any, key: str, kind: type, source: str) -> list[Any]:
    """A list of one type without repetitions; a single value counts as a list of one."""
    values = [] if value is None else list(value) if isinstance(value, list) else [value]
    for item in values:
        if not isinstance(item, kind) or isinstance(item, bool):
            raise ConfigError(f"{source}: '{key}' takes {kind.__name__} values, found {item!r}")
        if values.count(item) > 1 and key != "options":
            raise ConfigError(f"{source}: '{key}' names {item!r} twice")
        if key in ("df_sizes", "budgets") and item < 1:
            raise ConfigError(f"{source}: '{key}' must be at least 1, found {item}")
    return values


def _check_single_values(sweep: SweepConfig) -> None:
    paths = [sweep.cfg_path] if isinstance(sweep.cfg_path, str) else sweep.cfg_path
    if not isinstance(sweep.cfg_path, str | dict) or any(not isinstance(path, str) for path in paths):
        raise ConfigError(f"{sweep.source}: 'cfg_path' is a file, or a mapping from task to file: {sweep.cfg_path!r}")
    if not isinstance(sweep.checkpoints, dict) or any(not isinstance(v, str) for v in sweep.checkpoints.values()):
        raise ConfigError(f"{sweep.source}: 'checkpoints' is a mapping from reference to file: {sweep.checkpoints!r}")
    for name in [*sweep.references, *sweep.checkpoints]:
        if name not in REFERENCES:
            raise ConfigError(f"{sweep.source}: unknown reference '{name}'; {suggest(str(name), REFERENCES)}")
    if not isinstance(sweep.gallery, int) or isinstance(sweep.gallery, bool) or sweep.gallery < 0:
        raise ConfigError(f"{sweep.source}: 'gallery' is a number of portraits, found {sweep.gallery!r}")
    for key in ("show_people", "public"):
        if not isinstance(getattr(sweep, key), bool):
            raise ConfigError(f"{sweep.source}: '{key}' is true or false, found {getattr(sweep, key)!r}")
    if not isinstance(sweep.report_dir, str) or not sweep.report_dir:
        raise ConfigError(f"{sweep.source}: 'report_dir' is a folder, found {sweep.report_dir!r}")
    for key, choices in (("reference_seeds", REFERENCE_SEEDS), ("launcher", LAUNCHERS)):
        value = getattr(sweep, key)
        if value not in choices:
            raise ConfigError(f"{sweep.source}: '{key}' is {value!r}; {suggest(str(value), choices)}")
    for key in ("settings", "grid", "search", "slurm", "verdict"):
        if not isinstance(getattr(sweep, key), dict):
            raise ConfigError(f"{sweep.source}: '{key}' is a mapping, found {getattr(sweep, key)!r}")
    VerdictRules.from_dict(sweep.verdict, sweep.source)


def _is_choice(values: Any) -> bool:
    """Whether these are the values of one run key: a list of plain ones."""
    return isinstance(values, list) and bool(values) and not any(isinstance(value, list | dict) for value in values)


def _check_methods(sweep: SweepConfig) -> None:
    """Raises ConfigError unless `settings` and `grid` map methods of the sweep to values of the right form."""
    for key in ("settings", "grid"):
        for method in getattr(sweep, key):
            if method not in sweep.methods:
                hint = suggest(str(method), sweep.methods)
                raise ConfigError(f"{sweep.source}: '{key}' is for method '{method}', which 'methods' lacks; {hint}")
    for method, content in sweep.settings.items():
        if not isinstance(content, dict) or set(content) != {"run"} or not isinstance(content["run"], dict):
            raise ConfigError(f"{sweep.source}: 'settings.{method}' is a mapping {{run: {{key: value}}}}: {content!r}")
    for method, content in sweep.grid.items():
        for part in content if isinstance(content, list) else [content]:
            if not isinstance(part, dict) or not part or not all(map(_is_choice, part.values())):
                raise ConfigError(f"{sweep.source}: 'grid.{method}' maps run keys to lists of values, found {part!r}")
