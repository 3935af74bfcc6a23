"""The wheel alone, outside the checkout: no file is missing, and it trains, unlearns, measures, audits and exports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.processes import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DATA = Path("data/lavis_cache/salmu_tiny")
QUICK = ("--options", "run.device=cpu")
PERSON = "00000001"


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, built from the files that git knows, and the wheel, built from nothing but the sdist."""
    folder = tmp_path_factory.mktemp("archives")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        target = folder / "checkout" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    sdist = built("sdist", folder / "checkout", folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return sdist, built("wheel", unpacked, folder)


def built(what: str, source: Path, out: Path) -> Path:
    """Build an sdist or a wheel with the setuptools that is installed; nothing is downloaded."""
    code = f"from setuptools import build_meta; build_meta.build_{what}({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return max(out.glob("*.whl" if what == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def scripts(archives: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment with the wheel, and this environment's packages for what it needs."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(commands / "python"), "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--quiet", "--no-deps", "--no-index", str(archives[1])], check=True)
    (site,) = folder.glob("**/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return commands


def call(folder: Path, *words: object) -> str:
    """What a command prints, in `folder`. It must end well."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, words)], cwd=folder, env=env, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, f"{words}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
    return done.stdout


def test_every_file_of_the_package_is_in_both(archives: tuple[Path, Path]) -> None:
    listed = subprocess.run(["git", "ls-files", "-z", "lavis", "configs"], cwd=ROOT, capture_output=True, text=True)
    tracked = set(filter(None, listed.stdout.split("\0")))
    library = {name for name in tracked if name.startswith("lavis/")}
    assert {"lavis/py.typed", "lavis/configs/models/clip_tiny.json", "lavis/report/templates/page.html"} <= library
    with tarfile.open(archives[0]) as archive:
        assert tracked - {name.partition("/")[2] for name in archive.getnames()} == set()
    with zipfile.ZipFile(archives[1]) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == library


def test_the_main_job_from_the_wheel_alone(scripts: Path, tmp_path: Path) -> None:
    python, command = scripts / "python", scripts / "multidelete"
    shutil.copyfile(ROOT / "configs" / "clip" / "retrieval_salmu_tiny.yaml", tmp_path / "tiny.yaml")
    place = call(tmp_path, python, "-c", "import lavis; print(lavis.__file__)").strip()
    assert Path(place).is_relative_to(scripts.parent) and call(tmp_path, command, "--version").startswith("multidelete")

    call(tmp_path, command, "train", "--cfg-path", "tiny.yaml", *QUICK, "run.max_epoch=2")
    columns = "image=image,caption=caption,person=identity_id"
    data = ["--data", DATA / "annotations" / "train.json", "--images", DATA / "images", "--columns", columns]
    chosen = ["--fractions", "test=0.2", "--forget", f"person={PERSON}", "--method", "erase"]
    model = ["--model", "output/original/clip/salmu_tiny_retrieval"]
    call(tmp_path, command, "unlearn", *model, *data, *chosen, "--out", "runs/one", *QUICK, "run.max_epoch=1")
    call(tmp_path, command, "evaluate", "runs/one", "--metrics", "retrieval,cosine", *QUICK)
    assert "df_txt_r1" in json.loads((tmp_path / "runs" / "one" / "results.json").read_text())["metrics"]
    call(tmp_path, command, "audit", "runs/one", "--attacks", "rounding", *QUICK)
    assert "<html" in (tmp_path / "runs" / "one" / "audit" / "audit.html").read_text()
    call(tmp_path, python, "-m", "lavis.cli.main", "export", "runs/one", "--out", "mine")
    assert (tmp_path / "mine" / "open_clip_model.safetensors").is_file()
