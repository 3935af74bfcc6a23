"""Salesforce's LAVIS in the same environment."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from lavis.common.namesake import check_namesake


@pytest.fixture(params=["salesforce_lavis-1.0.2.dist-info", "salesforce_lavis.egg-info"])
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A folder on sys.path that has what pip writes about salesforce-lavis."""
    (tmp_path / "site" / request.param).mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def test_both_in_one_folder_is_an_error(site: Path) -> None:
    with pytest.raises(ImportError, match=r"salesforce-lavis is installed in .*site and has the same import name"):
        check_namesake(site / "lavis")


def test_in_another_folder_it_is_a_warning(site: Path) -> None:
    with pytest.warns(UserWarning, match="give each an environment of its own") as found:
        check_namesake(site.parent / "elsewhere" / "lavis")
    assert len(found) == 1


def test_nothing_is_said_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "salesforce_lavis_tools-1.0.dist-info.txt").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing"), str(tmp_path / "archive.zip"), ""])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_namesake(tmp_path / "lavis")


def test_import_looks_for_it(site: Path) -> None:
    """In a process of its own, in which the package is imported for the first time."""
    code = f"import sys; sys.path.insert(0, {str(site)!r}); import lavis"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=Path.cwd())
    assert done.returncode == 0 and done.stderr.count("give each an environment of its own") == 1
