"""pyproject.toml as data, and how its prose writes small numbers."""

from __future__ import annotations

from typing import Any

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10; pytest installs it there
    import tomli as tomllib

from tests.processes import ROOT


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()


def word(count: int) -> str:
    """13 as thirteen; larger numbers in figures."""
    return WORDS[count] if count < len(WORDS) else str(count)
