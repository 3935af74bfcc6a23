"""Foreign text on its way to a terminal, a log or a table: no character steers it, and no value floods it."""

from __future__ import annotations

import re

# Control characters other than tab and line feed, C1 (where U+009B begins an escape sequence), lone surrogates, and
# what changes the direction of writing or breaks a line without looking like it.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_LONGEST = 255  # characters of a value that is quoted whole; no file name has more
_KEPT, _END = 80, 30  # of a longer one; at the end of a path is the name of its file
_WHOLE = 4000  # characters of a message
# A value in a message: in quotes, where the quotes are no apostrophes, or without a space.
_LONG = re.compile(
    rf"(?<!\w)'[^'\n]{{{_LONGEST},}}'(?!\w)|(?<!\w)\"[^\"\n]{{{_LONGEST},}}\"(?!\w)|\S{{{_LONGEST + 1},}}"
)


def printable(text: str) -> str:
    """The text with steering characters as escapes that JSON knows (\\u001b); line breaks and tabs stay."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def brief(message: str) -> str:
    """The message with every value of more than 255 characters cut to its first 80 and last 30, and its length.

    What is still longer than 4,000 characters keeps its beginning and its end, where the advice is.
    """
    text = _LONG.sub(lambda match: _cut(match[0]), message)
    return text if len(text) <= _WHOLE else f"{text[: _WHOLE // 2]} … {text[-_WHOLE // 8 :]}"


def _cut(value: str) -> str:
    quotes = 2 if value[0] == value[-1] and value[0] in "'\"" else 0
    return f"{value[:_KEPT]}…{value[-_END:]} ({len(value) - quotes:,} characters)"
