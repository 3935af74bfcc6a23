"""The differences between two configurations, and what each affects, which its setting declares.

A run continues from a checkpoint unless a difference affects weights; finished results are valid unless one affects
weights or results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lavis.common.registry import registry
from lavis.settings.conditions import trainer_of
from lavis.settings.declaration import WEIGHTS, Affects, Declared, declared, section_of
from lavis.settings.layers import SECTIONS
from lavis.settings.schema import RunConfig

Plain = Mapping[str, Any]
METHOD_ARGS = "run.method_args"  # declared by the method


@dataclass(frozen=True)
class Change:
    """A setting's full name, its values then and now, and what the difference affects."""

    key: str
    then: Any
    now: Any
    affects: Affects


def changes(former: Plain, now: Plain, least: Affects) -> list[Change]:
    """The differences between two plain configurations (`Config.to_dict`) that affect at least `least`.

    A setting that `former` lacks had its default. One that `now` lacks is not compared. An undeclared one affects
    weights.
    """
    model = registry.get_model_class(now["model"]["arch"]).config_class
    differences = [
        *_of_section(RunConfig, former.get("run", {}), now["run"], "run", now["run"]),
        *_of_section(model, former.get("model", {}), now["model"], "model", now["run"]),
        *_between_data(former.get("datasets", {}), now["datasets"], now["run"]),
    ]
    return [change for change in differences if change.affects >= least]


def config_changes(recorded: Any, current: dict[str, Any]) -> list[str]:
    """Differences that affect results, as "run.init_lr 0.001, now 0.0005"; none unless both are configurations.

    Keys that `current` lacks are ignored.
    """
    if not all(_is_config(config) for config in (recorded, current)):
        return []
    return [f"{change.key} {change.then}, now {change.now}" for change in changes(recorded, current, Affects.RESULTS)]


def _is_config(config: Any) -> bool:
    if not isinstance(config, dict) or not all(isinstance(config.get(name), dict) for name in SECTIONS):
        return False
    return all(isinstance(section, dict) for section in config["datasets"].values())


def _between_data(former: Plain, now: Plain, run: Plain) -> Iterator[Change]:
    if former.keys() != now.keys():
        yield Change("datasets", list(former), list(now), WEIGHTS)
        return
    for name, then in former.items():
        section = registry.get_builder_class(name).config_class
        yield from _of_section(section, then, now[name], f"datasets.{name}", run)


def _of_section(section: type, then: Plain, now: Plain, prefix: str, run: Plain) -> Iterator[Change]:
    """Differences in a whole section; a setting that `now` lacks counts as unchanged."""
    same = {name: value for name, value in then.items() if name in declared(section)} if _is_section(then) else {}
    return _differences(section, then, {**same, **now}, prefix, run)


def _differences(section: type, then: Plain, now: Plain, prefix: str, run: Plain) -> Iterator[Change]:
    if not _is_section(then):  # someone else's file
        yield Change(prefix, then, now, WEIGHTS)
        return
    known = declared(section)
    for name, item in known.items():
        yield from _difference(item, then, now, f"{prefix}.{name}", run)
    for name in sorted((then.keys() | now.keys()) - known.keys() - getattr(section, "retired", {}).keys()):
        if then.get(name) != now.get(name):
            yield Change(f"{prefix}.{name}", then.get(name), now.get(name), WEIGHTS)


def _is_section(content: Any) -> bool:
    return isinstance(content, Mapping)


def _difference(item: Declared, then: Plain, now: Plain, key: str, run: Plain) -> Iterator[Change]:
    """Differences in one setting of a section or, if it is a section itself, in all settings within it."""
    inner, keyed = (trainer_of(run).params_class, False) if key == METHOD_ARGS else section_of(item.hint)
    default = item.default if inner is None else {}
    before, after = then.get(item.name, default), now.get(item.name, default)
    if inner is None or not isinstance(before, Mapping):
        if not _same(before, after, item.about.absent):
            yield Change(key, before, after, item.about.reach(run, key))
    elif keyed:
        for name in sorted(before.keys() | after.keys()):
            yield from _differences(inner, before.get(name, {}), after.get(name, {}), f"{key}.{name}", run)
    else:
        yield from _differences(inner, before, after, key, run)


def _same(one: Any, other: Any, absent: float | None) -> bool:
    """Equality. If `absent` is given, a name that a mapping lacks has this value."""
    if absent is None or not isinstance(one, Mapping):
        return one == other
    return all(one.get(name, absent) == other.get(name, absent) for name in one.keys() | other.keys())
