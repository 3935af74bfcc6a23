"""How a setting is declared: its default and meaning, its valid values, and what a change of it affects."""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any

_KEY = "setting"
Condition = Callable[[Mapping[str, Any], str], bool]  # (the plain `run` section, the full key) -> bool


class Affects(enum.IntEnum):
    """What a change of a setting affects, beyond rounding.

    With another device, number of threads or division of work, sums run in another order and the last bits differ. That
    counts as nothing, so that a run may continue on another machine.
    """

    NOTHING = 0  # only files' places, speed, memory, logs
    RESULTS = 1  # the numbers reported for the same weights
    WEIGHTS = 2  # the weights after training


NOTHING, RESULTS, WEIGHTS = Affects
SEED = {"least": 0, "most": 2**32 - 1}  # NumPy's range


@dataclass(frozen=True)
class Setting:
    """The declaration of one setting. Bounds apply to each number of a list or mapping."""

    meaning: str = ""
    affects: Affects = WEIGHTS
    weights_if: Condition | None = None  # if true, a change affects weights, whatever `affects` says
    choices: tuple[str, ...] = ()  # the only valid texts; "<n>" stands for digits
    least: float | None = None
    above: float | None = None
    below: float | None = None
    most: float | None = None
    also: tuple[float, ...] = ()  # valid numbers outside the bounds
    lone: bool = False  # a text means a list of that text
    absent: float | None = None  # value of names that a mapping lacks
    ignored: str = ""  # why nothing reads the setting, unless `weights_if` is true

    def reach(self, run: Mapping[str, Any], key: str) -> Affects:
        """What a change of `key` affects in a run with these plain settings."""
        return WEIGHTS if self.weights_if is not None and self.weights_if(run, key) else self.affects


def setting(default: Any, meaning: str, *, kw_only: bool = False, **about: Any) -> Any:
    """A dataclass field with this default (lists and mappings are copied) and a Setting as its metadata.

    kw_only: Python 3.10 cannot read the types of a dataclass with the mark KW_ONLY.
    """
    metadata = {_KEY: Setting(meaning, **about)}
    if isinstance(default, list | dict) or dataclasses.is_dataclass(default):
        return field(default_factory=functools.partial(copy.deepcopy, default), metadata=metadata, kw_only=kw_only)
    return field(default=default, metadata=metadata, kw_only=kw_only)


@dataclass(frozen=True)
class Section:
    """A group of settings. `__post_init__` of a subclass checks combinations of them (ConfigError)."""

    def __post_init__(self) -> None:
        """Nothing to check."""


@dataclass(frozen=True)
class Declared:
    """A setting as its dataclass declares it; `hint` is its type."""

    name: str
    hint: Any
    default: Any
    about: Setting


@functools.cache
def declared(section: type) -> dict[str, Declared]:
    """The settings of a dataclass by name, in order.

    A subclass that only sets another default (`arch: str = "albef_vqa"`) inherits its base's declaration. A field
    without declaration affects weights.
    """
    hints = typing.get_type_hints(section)
    return {
        item.name: Declared(item.name, hints[item.name], _default(item), _about(section, item.name))
        for item in dataclasses.fields(section)
    }


def _about(section: type, name: str) -> Setting:
    fields = (getattr(base, "__dataclass_fields__", {}).get(name) for base in section.__mro__)
    return next((item.metadata[_KEY] for item in fields if item is not None and _KEY in item.metadata), Setting())


def _default(item: dataclasses.Field) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


def section_of(hint: Any) -> tuple[type | None, bool]:
    """The dataclass in a type hint, and whether the hint is a mapping from names to it; else (None, False)."""
    if dataclasses.is_dataclass(hint):
        return typing.cast(type, hint), False
    values = typing.get_args(hint)
    if typing.get_origin(hint) is dict and dataclasses.is_dataclass(values[1]):
        return values[1], True
    return None, False


def without_none(hint: Any) -> tuple[Any, bool]:
    """`X | None` as (X, True), any other type as (itself, False)."""
    if isinstance(hint, types.UnionType):
        (kind,) = (option for option in typing.get_args(hint) if option is not types.NoneType)
        return kind, True
    return hint, False
