"""The container's files: linted, complete, without secrets; a slow test runs the steps in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.processes import ROOT

FOLDER = ROOT / "container"
HOME = "/app/multidelete"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions in order, each with what follows it; options such as --chown are left out."""
    text = re.sub(r"\\\n\s*", "", (FOLDER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, re.sub(r"^(--\S+\s+)+", "", rest)) for word, _, rest in (line.partition(" ") for line in lines)]


def sources(rest: str) -> list[str]:
    """What a COPY instruction copies."""
    return rest.split()[:-1]


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name]


def sent() -> list[str]:
    """The files of the checkout that the ignore file lets into an image."""
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    return [name for name in tracked() if name.split("/")[0] in let_in]


def services() -> dict[str, dict]:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]


def test_hadolint_finds_nothing() -> None:
    linter = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert linter, "hadolint is missing: run `bash bash/setup.sh`"
    done = subprocess.run([linter, "--failure-threshold", "style", "Dockerfile"], cwd=FOLDER, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


def test_everything_copied_is_there_and_sent() -> None:
    named = [name for word, rest in instructions() if word == "COPY" for name in sources(rest) if name != "."]
    assert named and set(named) <= set(sent())


def test_an_image_has_the_whole_project_and_nothing_that_was_made_here() -> None:
    """The ignore file names what goes in, so that a new folder of results or a file of secrets stays out."""
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[1] == "*" and "data/lavis_cache" in lines
    left_out = {name.split("/")[0] for name in set(tracked()) - set(sent())}
    assert left_out == {".ci", ".pre-commit-config.yaml"}


def test_the_last_user_is_not_root() -> None:
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users == ["1000"] and "useradd --create-home --home-dir /app --uid 1000 user" in [
        rest for _, rest in instructions()
    ]


def test_arguments_and_variables_hold_no_secret() -> None:
    given = [rest for word, rest in instructions() if word in ("ARG", "ENV")]
    assert not [rest for rest in given if re.search("(?i)token|secret|password|key", rest)]
    assert not [name for service in services().values() for name in service if name in ("environment", "env_file")]


def test_the_report_is_served_from_where_the_demo_writes_it() -> None:
    demo, report = services()["demo"], services()["report"]
    assert (FOLDER / demo["build"]["context"] / demo["build"]["dockerfile"]).resolve() == FOLDER / "Dockerfile"
    assert f"output:{HOME}/output" in demo["volumes"] and f"output:{HOME}/output:ro" in report["volumes"]
    assert report["command"][-1] == "output/report" and "report=output/report/" in (ROOT / "bash/demo.sh").read_text()
    assert report["depends_on"] == {"demo": {"condition": "service_completed_successfully"}}


def test_the_overlay_for_gpus_changes_a_service_that_exists() -> None:
    assert set(yaml.safe_load((FOLDER / "gpu.yaml").read_text())["services"]) <= set(services())


def copy(rest: str, folder: Path) -> None:
    """A COPY instruction: from the checkout, as far as the ignore file lets it, into `folder`."""
    *names, target = rest.split()
    for name in sent() if names == ["."] else names:
        place = folder / target / (Path(name).name if target.endswith("/") and names != ["."] else "")
        place = folder / name if names == ["."] else place
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_steps_in_an_empty_folder(tmp_path: Path) -> None:
    """As a builder runs them, in order, without the user that needs root; then what the container starts."""
    folder, variables = tmp_path / "multidelete", {"TORCH_INDEX": "", "PYTHON": sys.executable}
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    folder.mkdir()
    ran = []
    for word, rest in instructions():
        if word == "COPY":
            copy(rest, folder)
        elif word == "ENV":
            name, _, value = rest.replace(HOME, str(folder)).partition("=")
            variables[name] = os.path.expandvars(value)
        elif (word == "RUN" and not rest.startswith("useradd")) or word == "CMD":
            command = " ".join(yaml.safe_load(rest)) if word == "CMD" else rest
            done = subprocess.run(
                ["bash", "-c", command], cwd=folder, env={**outside, **variables}, capture_output=True
            )
            assert done.returncode == 0, f"{command}: {done.stdout.decode()[-2000:]}{done.stderr.decode()[-2000:]}"
            ran.append(command)
    assert [command.split()[0] for command in ran] == ["bash", "multidelete", "bash"]
    assert (folder / "output" / "report" / "index.html").is_file()
