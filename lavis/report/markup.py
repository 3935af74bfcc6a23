"""HTML and SVG elements that escape whatever text they are given: captions may be hostile."""

from __future__ import annotations

import html
import re
from typing import Any

VOID = frozenset({"meta", "img", "br", "hr", "link"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9:-]*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


class Safe(str):
    """Markup that is already escaped; only `el` and `raw` make it."""

    __slots__ = ()


def clean(text: Any) -> str:
    """Text without control characters and overrides of the writing direction (each becomes U+FFFD)."""
    return _CONTROL.sub("\ufffd", str(text))


def el(name: str, /, *children: Any, **attributes: Any) -> Safe:
    """One element. Children that are not Safe are escaped; None is left out.

    Attribute names: a trailing underscore is dropped and underscores become hyphens (`class_`, `stroke_width`);
    values are always escaped, None drops the attribute, True leaves its name alone.
    """
    pairs = []
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if not _NAME.fullmatch(key) or key.lower().startswith("on"):
            raise ValueError(f"not an attribute that this report writes: {key!r}")
        if value is True:
            pairs.append(f" {key}")
        elif value is not None and value is not False:
            pairs.append(f' {key}="{html.escape(clean(_short(value)), quote=True)}"')
    opening = f"<{name}{''.join(pairs)}>"
    return Safe(opening if name in VOID else f"{opening}{join(children)}</{name}>")


def join(children: Any) -> Safe:
    """Children one after the other, escaped where they need it."""
    return Safe("".join(c if isinstance(c, Safe) else html.escape(clean(c)) for c in children if c is not None))


def raw(text: str) -> Safe:
    """Text of this package (a style sheet) that must not be escaped. Never for anything read from a file."""
    return Safe(text)


def _short(value: Any) -> Any:
    """Coordinates with two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
