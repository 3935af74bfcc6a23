"""`~` at the beginning of a path is the home folder, also where no shell replaces it: in YAML, in `--out=~/runs`."""

from __future__ import annotations

import re
from pathlib import Path

HOME = re.compile(r"((?:--[\w-]+=)?(?:local-dir:)?)~(?=/|$)")


def at_home(text: str) -> str:
    """The text with a `~` at its beginning, or after `--flag=` or `local-dir:`, replaced by the home folder."""
    found = HOME.match(text)
    return f"{found[1]}{Path.home()}{text[found.end() :]}" if found else text


def home_path(path: str | Path) -> Path:
    """The path, with a `~` at its beginning replaced by the home folder."""
    return Path(at_home(str(path)))
