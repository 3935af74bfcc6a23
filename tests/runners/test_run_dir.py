"""The paths of run folders."""

from __future__ import annotations

import dataclasses

import pytest

from lavis.common.errors import ConfigError
from lavis.runners.run_dir import run_folder
from lavis.settings.schema import RunConfig

RUN = RunConfig(method="vlul", df_size=5, seed=7, output_dir="out")


@pytest.mark.parametrize(
    ("change", "folder"),
    [
        ({}, "out/unlearn-vlul/clip/task/5"),
        ({"seed_folder": True}, "out/unlearn-vlul/clip/task/5/seed-7"),
        ({"seed_folder": True, "unlearn_seed": 8}, "out/unlearn-vlul/clip/task/5/seed-7-8"),
        ({"subfolder": "budget-5/init_lr-1e-4"}, "out/unlearn-vlul/clip/task/5/budget-5/init_lr-1e-4"),
        ({"subfolder": "budget-5", "seed_folder": True}, "out/unlearn-vlul/clip/task/5/budget-5/seed-7"),
        ({"method": None, "subfolder": "x"}, "out/original/clip/task/x"),
        ({"method": None, "reference": "retrained", "seed_folder": True}, "out/retrained/clip/task/5/seed-7"),
    ],
)
def test_run_folders(change: dict, folder: str) -> None:
    assert run_folder(dataclasses.replace(RUN, **change), "clip", "task", 5).as_posix() == folder


@pytest.mark.parametrize("name", ["/tmp", "../elsewhere", "a/../../b"])
def test_a_subfolder_stays_below(name: str) -> None:
    with pytest.raises(ConfigError, match="run.subfolder must be a folder below"):
        dataclasses.replace(RUN, subfolder=name)
