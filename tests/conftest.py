"""Fixtures that several rooms share."""

from __future__ import annotations

import logging
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import pytest  # noqa: E402

from tests.small import SmallWorld, write_world  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_logger():
    """The project's logger as no run has set it up yet: a run in one test adds no lines to what the next one reads."""
    logger = logging.getLogger("lavis")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture
def heard(fresh_logger, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """`caplog` for tests that run a whole command: it hears the project's logger after the command has set it up."""
    logger = logging.getLogger("lavis")
    logger.propagate = False
    logger.addHandler(caplog.handler)
    logger.setLevel(logging.INFO)
    return caplog


@pytest.fixture(scope="session")
def trained_world(tmp_path_factory) -> SmallWorld:
    """A small world with an original model; its files are shared, so tests write below their own output folders."""
    from lavis.tasks.entry import train

    world = write_world(tmp_path_factory.mktemp("world"))
    train(str(world.config), [])
    return world


@pytest.fixture
def unlearn(trained_world, tmp_path):
    """`unlearn(method, *options)` runs in this process into an output folder of the test's own; returns its folder."""
    from lavis.tasks.entry import unlearn as entry

    def run(method: str = "vlul", *options: str, df_size: int = 16, name: str = "out"):
        start = trained_world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
        own = [f"run.output_dir={tmp_path / name}", f"run.resume_ckpt_path={start}"]
        flags = {"method": method, "df_size": df_size, "alpha": 0.5}
        entry(str(trained_world.config), [*own, *options], "clip", "salmu_retrieval", flags)
        return tmp_path / name / f"unlearn-{method}" / "clip" / "salmu_retrieval" / str(df_size)

    return run
