"""Parses JSON that others wrote. All JSON of the project is read here, in whole files or line by line.

Python's parser has no limits: brackets nested a thousand deep end in a RecursionError, here or in whoever walks over
the content later, an integer of 400 digits in an OverflowError where it becomes a float or an int64. Here these are
errors of the text, with a message.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from lavis.common.errors import DataError

DEEPEST = 64  # lists and objects within each other; our own files have at most 8
DIGITS = len(str(-(2**63)))  # an integer of more characters fits in no machine's word
REMEDY = "fix or rewrite the file"


def parse_json(text: str, where: str, remedy: str = REMEDY) -> Any:
    """The content of a JSON text. `where` begins the message, `remedy` ends it.

    Raises DataError for what is not JSON (with line and column), for more than DEEPEST levels and for numbers that no
    64-bit integer or float can hold.
    """
    try:
        content = json.loads(text, parse_int=_integer, parse_float=_decimal)
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{where} is not valid JSON: {error.msg} at {position}; {remedy}") from error
    except _Refused as error:
        raise DataError(f"{where} cannot be used: {error}; {remedy}") from error
    except RecursionError as error:
        _too_deep(where, remedy, error)
    if not _is_shallow(content):
        _too_deep(where, remedy)
    return content


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """A value is valid JSON, but nothing can be done with it."""


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise _Refused(f"it contains an integer of {len(text.lstrip('-'))} digits")
    return int(text)


def _decimal(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _Refused(f"the number {text:.20} is too large")
    return value


def _is_shallow(content: Any) -> bool:
    """Whether the content has at most DEEPEST levels; visits them one after the other, without recursion."""
    level = [content]
    for _ in range(DEEPEST):
        level = [child for node in level for child in _children(node)]
        if not level:
            return True
    return False


def _children(node: Any) -> list[Any]:
    """The lists and objects in a list or an object."""
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [value for value in values if isinstance(value, (dict, list))]


def _too_deep(where: str, remedy: str, cause: Exception | None = None) -> NoReturn:
    raise DataError(f"{where} cannot be used: it is nested more than {DEEPEST} levels deep; {remedy}") from cause
