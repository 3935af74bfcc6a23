"""`~` at the beginning of a path is the home folder, also where no shell replaces it: in YAML, in `--out=~/runs`."""

from __future__ import annotations

import re
from pathlib import Path

from lavis.common.errors import ConfigError
from lavis.common.files import odd_character

HOME = re.compile(r"((?:--[\w-]+=)?(?:local-dir:)?)~(?=/|$)")


def at_home(text: str) -> str:
    """The text with a `~` at its beginning, or after `--flag=` or `local-dir:`, replaced by the home folder."""
    found = HOME.match(text)
    return f"{found[1]}{Path.home()}{text[found.end() :]}" if found else text


def home_path(path: str | Path) -> Path:
    """The path, with a `~` at its beginning replaced by the home folder. Raises ConfigError if empty or not UTF-8."""
    if not str(path):
        raise ConfigError("a path is empty; name a file or a folder ('.' is the current one)")
    odd = odd_character(str(path))
    if odd:
        raise ConfigError(f"the path {path!s} is not UTF-8 ({odd}); choose another name")
    return Path(at_home(str(path)))
