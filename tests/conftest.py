"""Fixtures that several rooms share."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script started the tests with `&`; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402

from tests.disks import fill, small_disk  # noqa: E402
from tests.small import SmallWorld, write_world  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_logger():
    """Reset the project's logger, so that a run in one test adds no lines to what the next test reads."""
    logger = logging.getLogger("lavis")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture
def heard(fresh_logger, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """`caplog` for tests that run a whole command: still receives records after the command sets up its logger."""
    logger = logging.getLogger("lavis")
    logger.propagate = False
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    return caplog


@pytest.fixture(scope="session")
def trained_world(tmp_path_factory) -> Iterator[SmallWorld]:
    """A small world with an original model. Tests share its files and write only below their own output folders."""
    from lavis.tasks.entry import train

    world = write_world(tmp_path_factory.mktemp("world"))
    train(str(world.config), [])
    gc.collect()
    gc.freeze()  # every run collects garbage; from here on, that skips the libraries' objects
    before = files_below(world.path)
    yield world
    assert files_below(world.path) == before, "a test has changed the files that all tests share"


@pytest.fixture(scope="session")
def finished(trained_world, tmp_path_factory) -> Iterator[Callable[..., Path]]:
    """`finished(method, *options)`: the folder of such a run, made at the first call; tests share and only read it."""
    made: dict[tuple[str, ...], Path] = {}
    before: dict[Path, dict[Path, tuple[int, int]]] = {}

    def run(method: str = "vlul", *options: str) -> Path:
        key = (method, *options)
        if key not in made:
            folder = run_unlearning(trained_world, tmp_path_factory.mktemp("finished"), method, options)
            made[key], before[folder] = folder, files_below(folder)
        return made[key]

    yield run
    changed = [folder for folder, files in before.items() if files_below(folder) != files]
    assert changed == [], "a test has changed runs that all tests share"


@pytest.fixture
def unlearn(trained_world, tmp_path):
    """`unlearn(method, *options)` runs in this process, below the test's own folder; returns the run folder."""

    def run(method: str = "vlul", *options: str, df_size: int = 16, name: str = "out") -> Path:
        return run_unlearning(trained_world, tmp_path / name, method, options, df_size)

    return run


@pytest.fixture
def unlearned(finished, tmp_path):
    """`unlearned(method, *options)`: a copy of the `finished` run, where `unlearn` would have written it."""

    def copy(method: str = "vlul", *options: str, name: str = "out") -> Path:
        folder = finished(method, *options)
        return shutil.copytree(folder, tmp_path / name / folder.relative_to(folder.parents[3]), symlinks=True)

    return copy


def run_unlearning(world: SmallWorld, output: Path, method: str, options: tuple[str, ...], df_size: int = 16) -> Path:
    """Run `method` in this process, from the world's original model; returns its folder."""
    from lavis.tasks.entry import unlearn

    start = world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    own = [f"run.output_dir={output}", f"run.resume_ckpt_path={start}"]
    flags = {"method": method, "df_size": df_size, "alpha": 0.5}
    unlearn(str(world.config), [*own, *options], "clip", "salmu_retrieval", flags)
    return output / f"unlearn-{method}" / "clip" / "salmu_retrieval" / str(df_size)


def files_below(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and modification time of every file."""
    states = {path: path.lstat() for path in folder.rglob("*") if not path.is_dir()}
    return {path: (state.st_size, state.st_mtime_ns) for path, state in states.items()}


@pytest.fixture
def full_disk(tmp_path) -> Iterator[Path]:
    """A folder on a file system without a free byte; folders can still be made."""
    with small_disk(tmp_path / "full", "64k") as folder:
        fill(folder)
        yield folder
