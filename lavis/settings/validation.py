"""Converts plain values (YAML, options, a method's arguments) to the dataclasses that declare them."""

from __future__ import annotations

import math
import re
import reprlib
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from lavis.common.errors import ConfigError, suggest
from lavis.common.files import odd_character
from lavis.common.home import at_home
from lavis.settings.declaration import Setting, declared, section_of, without_none

T = TypeVar("T")
MOST = 2**31 - 1  # upper bound of whole numbers that declare none
NAMES = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text", Any: "a value"}
PLURALS = {int: "whole numbers", float: "finite numbers", str: "texts", Any: "finite values"}


class _Unfit(Exception):  # noqa: N818 - never leaves this module
    """The value is not valid for the setting."""


def build(section: type[T], given: Any, prefix: str) -> T:
    """The dataclass with these settings and its defaults. Raises ConfigError as `read` and the class itself."""
    return make(section, read(section, given, prefix))


def make(section: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass and its nested dataclasses, from values that `read` returned."""
    known = declared(section)
    return section(**{name: _made(value, known[name].hint) for name, value in values.items()})


def _made(value: Any, hint: Any) -> Any:
    inner, keyed = section_of(hint)
    if inner is None:
        return value
    return {name: make(inner, child) for name, child in value.items()} if keyed else make(inner, value)


def read(section: type, given: Any, prefix: str) -> dict[str, Any]:
    """The given settings as plain values of the declared types: `3` becomes 3.0 for a float.

    Raises ConfigError with the full key if it is unknown (with the closest names), or if its value has another type, is
    out of range, not finite, or not among the choices.
    """
    known = declared(section)
    for key in _mapping(given, prefix):
        if key not in known:
            retired = getattr(section, "retired", {}).get(key)
            hint = f"it is not a setting here: {retired}" if retired else suggest(key, known)
            raise ConfigError(f"unknown key '{prefix}.{key}'; {hint}")
    return {key: _read(value, known[key].hint, known[key].about, f"{prefix}.{key}") for key, value in given.items()}


def _read(value: Any, hint: Any, about: Setting, where: str) -> Any:
    inner, keyed = section_of(hint)
    if inner is not None and keyed:
        return {name: read(inner, child, f"{where}.{name}") for name, child in _mapping(value, where).items()}
    if inner is not None:
        return read(inner, value, where)
    try:
        return _converted(value, hint, about)
    except _Unfit:
        raise ConfigError(_refusal(value, hint, about, where)) from None


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{where} must be a mapping from names to values, found {_shown(value)}")
    return value


def _converted(value: Any, hint: Any, about: Setting) -> Any:
    """The value as the declared type. Raises _Unfit."""
    kind, optional = without_none(hint)
    if value is None and optional:
        return None
    items = typing.get_args(kind)
    if typing.get_origin(kind) is list:
        listed = [value] if about.lone and isinstance(value, str) else value
        return [_converted(item, items[0], about) for item in _instance(listed, list)]
    if typing.get_origin(kind) is dict:
        named = [(_instance(key, str), item) for key, item in _instance(value, dict).items()]
        return {key: _converted(item, items[1], about) for key, item in named}
    return _plain(value) if kind is Any else _scalar(value, kind, about)


def _instance(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise _Unfit
    return value


def _plain(value: Any) -> Any:
    """Any YAML content whose numbers are finite and whose names are text."""
    if isinstance(value, dict):
        return {_instance(key, str): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise _Unfit
    return value


def _scalar(value: Any, kind: type, about: Setting) -> Any:
    """A boolean, number or text. In Python True is a number, in a configuration it is not."""
    if kind is str and isinstance(value, bool) and str(value).lower() in about.choices:
        return str(value).lower()  # YAML reads `true` as a boolean even if it is one of the choices
    if (kind is bool) != isinstance(value, bool):
        raise _Unfit
    if kind is bool:
        return value
    if kind is str:
        return _text(_instance(value, str), about)
    return _number(_instance(value, int | float if kind is float else int), kind, about)


def _text(value: str, about: Setting) -> str:
    forms = [re.escape(choice).replace("<n>", r"\d+") for choice in about.choices]
    if odd_character(value, null=True) or (forms and not any(re.fullmatch(form, value) for form in forms)):
        raise _Unfit
    return at_home(value)


def _number(value: float, kind: type, about: Setting) -> float:
    try:
        number = kind(value)
    except OverflowError:
        raise _Unfit from None
    if number not in about.also and not _within(number, about):
        raise _Unfit
    return number


def _within(number: float, about: Setting) -> bool:
    most = MOST if about.most is None and isinstance(number, int) else about.most
    return (
        (isinstance(number, int) or math.isfinite(number))
        and (about.least is None or number >= about.least)
        and (about.above is None or number > about.above)
        and (about.below is None or number < about.below)
        and (most is None or number <= most)
    )


def _refusal(value: Any, hint: Any, about: Setting, where: str) -> str:
    """The message for an invalid value: its type is wrong, or its range."""
    if about.choices:
        return f"{where} is {_shown(value)}; {suggest(str(value), about.choices)}"
    remark = "; in quotes it is text" if hint in (str, str | None) and isinstance(value, int | float) else ""
    if _fits(value, hint):
        wanted = [_bounds(value, hint, about), *(f"{number:g}" for number in about.also)]
    else:
        wanted = [kind_of(hint)]
    wanted += ["null"] if without_none(hint)[1] else []
    return f"{where} must be {' or '.join(wanted)}, found {_shown(value)}{remark}"


def _fits(value: Any, hint: Any) -> bool:
    """Whether the value has the right type, so that only a bound can be wrong."""
    try:
        _converted(value, hint, Setting(least=-math.inf, most=math.inf, lone=True))
    except _Unfit:
        return False
    return True


def _shown(value: Any) -> str:
    """The value as Python writes it; of a long list or mapping, its beginning."""
    if isinstance(value, str):
        return repr(value)
    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = shortener.maxlong = 80
    return shortener.repr(value)


def kind_of(hint: Any) -> str:
    """A type in words: "a whole number", "a list of texts"."""
    kind, _ = without_none(hint)
    items = typing.get_args(kind)
    if typing.get_origin(kind) is list:
        return f"a list of {PLURALS[items[0]]}"
    return f"a mapping from names to {PLURALS[items[1]]}" if items else NAMES[kind]


def _bounds(value: Any, hint: Any, about: Setting) -> str:
    """The declared bounds in words: "at least 1 and at most 1024"; with MOST if a whole number exceeds it."""
    most = MOST if about.most is None and isinstance(value, int) and value > MOST else about.most
    words = {"at least": about.least, "above": about.above, "below": about.below, "at most": most}
    limits = " and ".join(f"{word} {bound:.12g}" for word, bound in words.items() if bound is not None)
    return f"{limits} everywhere" if typing.get_args(without_none(hint)[0]) else limits
