"""Foreign text on its way to a terminal, a log or a table: what would steer it is written as an escape."""

from __future__ import annotations

import re

# Control characters other than tab and line feed, C1 (where U+009B begins an escape sequence), lone surrogates, and
# what changes the direction of writing or breaks a line without looking like it.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with steering characters as escapes that JSON knows (\\u001b); line breaks and tabs stay."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
