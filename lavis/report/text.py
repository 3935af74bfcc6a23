"""Makes captions, names and error messages, which may be hostile, safe to show."""

from __future__ import annotations

import re
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def clean(text: Any) -> str:
    """Text with control characters and overrides of the writing direction replaced by U+FFFD."""
    return _CONTROL.sub("\ufffd", str(text))


def short(name: Any, most: int = 24) -> str:
    """A name for a plot: cleaned, on one line, of at most `most` characters."""
    line = " ".join(clean(name).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
