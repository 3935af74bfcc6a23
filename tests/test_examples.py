"""examples/: every command and every line of Python in them runs as it stands."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lavis.cli.main import main
from tests.hub.folders import PLAIN, open_clip_folder
from tests.processes import ROOT
from tests.tables.people import write_people

PAGE = (ROOT / "examples" / "own_data.md").read_text()
NOTEBOOK = ROOT / "examples" / "forget_a_person.ipynb"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, flags=re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the page assumes: photos, people.csv, models/mine."""
    path = write_people(tmp_path_factory.mktemp("own"))
    open_clip_folder(path / "models" / "mine", PLAIN)
    return path


@pytest.mark.timeout(600)
def test_the_pages_commands_and_python_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    commands = [line for block in blocks("bash") for line in block.splitlines() if line]
    assert len(commands) == 4
    for command in commands:
        name, *words = shlex.split(command)
        assert name == "multidelete" and main(words) == 0, command
    assert Path("out/mine/open_clip_model.safetensors").is_file()
    (code,) = blocks("python")
    exec(compile(code, "own_data.md", "exec"), {})  # noqa: S102 - the page's own code
    assert Path("out/again/README.md").is_file() and Path("runs/request-13/results.json").is_file()


@pytest.mark.timeout(600)
def test_the_notebook_runs_and_shows_what_it_printed(tmp_path):
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 4 and all(cell["execution_count"] for cell in cells)
    assert any(cell["outputs"] for cell in cells)
    code = "\n\n".join("".join(cell["source"]) for cell in cells)
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "clip" / "README.md").is_file()


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
