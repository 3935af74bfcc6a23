"""The lower bounds in pyproject.toml are the releases that `.ci/run --floors` tests, and those that the pages name."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.processes import ROOT
from tests.project import pyproject

PROJECT = pyproject()["project"]
PYTHON = PROJECT["requires-python"].removeprefix(">=")
UNTESTED = {"docs", "dev", "wandb", "mlflow"}  # extras whose oldest releases are not looked for


def text(name: str) -> str:
    """A file as one line, so that a phrase is found wherever its lines break."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def lower_bounds() -> dict[str, str]:
    """The one bound of every dependency and of every extra that is not in UNTESTED: name to release."""
    extras = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *(line for name in extras.keys() - UNTESTED for line in extras[name])]
    bounds = {}
    for requirement in map(Requirement, asked):
        (bound,) = requirement.specifier
        assert bound.operator == ">=", requirement
        bounds[requirement.name] = bound.version
    return bounds


def test_lower_bounds_are_the_tested_releases() -> None:
    tested = re.findall(r"^([\w-]+)==([\d.]+)$", (ROOT / ".ci/floors.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: Version(release) for name, release in tested} == {
        name: Version(bound) for name, bound in lower_bounds().items()
    }


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("README.md", f"Python {PYTHON} or newer"),
        ("docs/start.md", f"Python {PYTHON} or newer"),
        ("bash/setup.sh", f"Python {PYTHON} or newer"),
        ("bash/setup.sh", f"sys.version_info < ({PYTHON.replace('.', ', ')})"),
        (".ci/run", f"python{PYTHON}"),
        (".ci/floors.txt", f"Python {PYTHON}"),
    ],
)
def test_oldest_python(name: str, phrase: str) -> None:
    assert phrase in text(name)
    assert f"Programming Language :: Python :: {PYTHON}" in PROJECT["classifiers"]


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_pages_name_the_oldest_releases(name: str) -> None:
    bounds = lower_bounds()
    assert f"PyTorch {bounds['torch']} and transformers {bounds['transformers']}" in text(name)
