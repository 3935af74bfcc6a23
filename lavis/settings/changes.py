"""What differs between two configurations, and how far each difference reaches.

A run goes on from a checkpoint unless a difference reaches the weights; finished results stand unless one reaches the
weights or the results. How far a setting reaches is declared where the setting is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lavis.common.registry import registry
from lavis.settings.conditions import trainer_of
from lavis.settings.declaration import WEIGHTS, Affects, Declared, declared, section_of
from lavis.settings.schema import RunConfig

Plain = Mapping[str, Any]
METHOD_ARGS = "run.method_args"  # declared by the method


@dataclass(frozen=True)
class Change:
    """A setting by its full name, its value then and now, and what the difference affects."""

    key: str
    then: Any
    now: Any
    affects: Affects


def changes(former: Plain, now: Plain, least: Affects) -> list[Change]:
    """The differences between two plain configurations (`Config.to_dict`) that affect at least `least`.

    A setting that `former` lacks was at its default. One that `now` lacks is not compared. One that is declared
    nowhere counts as affecting weights.
    """
    found: list[Change] = []
    model = registry.get_model_class(now["model"]["arch"]).config_class
    for prefix, section in (("run", RunConfig), ("model", model)):
        found += _of_section(section, former.get(prefix, {}), now[prefix], prefix, now["run"])
    found += _between_data(former.get("datasets", {}), now["datasets"], now["run"])
    return [change for change in found if change.affects >= least]


def _between_data(former: Plain, now: Plain, run: Plain) -> Iterator[Change]:
    if former.keys() != now.keys():
        yield Change("datasets", list(former), list(now), WEIGHTS)
        return
    for name, then in former.items():
        section = registry.get_builder_class(name).config_class
        yield from _of_section(section, then, now[name], f"datasets.{name}", run)


def _of_section(section: type, then: Plain, now: Plain, prefix: str, run: Plain) -> Iterator[Change]:
    """Differences of a whole section; what `now` lacks is taken to be as it was."""
    same = {name: value for name, value in then.items() if name in declared(section)}
    return _differences(section, then, {**same, **now}, prefix, run)


def _differences(section: type, then: Plain, now: Plain, prefix: str, run: Plain) -> Iterator[Change]:
    known = declared(section)
    for name, item in known.items():
        yield from _difference(item, then, now, f"{prefix}.{name}", run)
    for name in sorted((then.keys() | now.keys()) - known.keys()):
        if then.get(name) != now.get(name):
            yield Change(f"{prefix}.{name}", then.get(name), now.get(name), WEIGHTS)


def _difference(item: Declared, then: Plain, now: Plain, key: str, run: Plain) -> Iterator[Change]:
    """Of one setting of a section; of every setting within it, where it is a section itself."""
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
    """Equality; of mappings where a name that is not there means `absent`, that of what they mean."""
    if absent is None or not isinstance(one, Mapping):
        return one == other
    return all(one.get(name, absent) == other.get(name, absent) for name in one.keys() | other.keys())
