"""Sweep files and their grids of jobs."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from lavis.common.errors import ConfigError, MissingFile
from lavis.sweeps.plan import ROOT, expand, settings
from lavis.sweeps.schema import SweepConfig, load_sweep, sweep_from_dict
from lavis.sweeps.variants import variants

TINY = "configs/clip/retrieval_salmu_tiny.yaml"
SWEEPS = sorted((ROOT / "configs" / "sweep").glob("*.yaml"))


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def sweep(**more: object) -> SweepConfig:
    return sweep_from_dict({"cfg_path": TINY, "methods": ["vlul", "erase"], **more}, "s.yaml")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_shipped_sweep_expands(path: Path) -> None:
    given = load_sweep(path)
    given.df_sizes, given.seeds = (
        given.df_sizes[:2],
        given.seeds[:2],
    )  # composing further ones takes 80 ms each and tests nothing more
    cells = expand(given)
    places = math.prod(max(1, len(part)) for part in (given.backbones, given.tasks, given.df_sizes, given.seeds))
    assert Counter(c.method for c in cells) == {m: places * len(variants(given, m)) for m in given.methods}
    assert len({cell.job.folder for cell in cells}) == len(cells)


def test_the_grid_crosses_sizes_seeds_and_methods() -> None:
    cells = expand(sweep(df_sizes=[16, 32], seeds=[42, 7]))
    assert len(cells) == 8
    assert len({cell.job.folder for cell in cells}) == len({cell.job.log for cell in cells}) == 8
    assert {(c.df_size, c.seed, c.method) for c in cells} == {
        (size, seed, method) for size in (16, 32) for seed in (42, 7) for method in ("vlul", "erase")
    }


def test_a_cell_is_the_command_that_a_user_would_type() -> None:
    cell = expand(sweep(df_sizes=[16], seeds=[7], options=["run.max_epoch=1"]))[0]
    assert cell.job.argv[1:] == (
        *("unlearn.py", "--unlearn_method", "vlul", "--backbone", "clip", "--task", "salmu_tiny_retrieval"),
        *("--df_size", "16", "--cfg-path", TINY, "--options", "run.max_epoch=1", "run.seed=7", "run.seed_folder=true"),
    )
    assert cell.job.folder.as_posix() == "output/unlearn-vlul/clip/salmu_tiny_retrieval/16/seed-7"


def test_the_configured_seed_keeps_the_plain_folder() -> None:
    cell = expand(sweep(df_sizes=[16], seeds=[42]))[0]
    assert cell.job.folder.as_posix() == "output/unlearn-vlul/clip/salmu_tiny_retrieval/16"
    assert "--options" not in cell.job.argv


def test_size_and_task_default_to_the_experiment_file() -> None:
    (place,) = settings(sweep())
    assert (place.task, place.df_size, place.df_seed) == ("salmu_tiny_retrieval", 60, 42)


def test_one_file_for_each_task() -> None:
    mini = "configs/clip/retrieval_salmu_mini.yaml"
    paths = {"salmu_tiny_retrieval": TINY, "clip/salmu_mini_retrieval": mini}
    tasks = ["salmu_tiny_retrieval", "salmu_mini_retrieval"]
    assert [place.cfg_path for place in settings(sweep(cfg_path=paths, tasks=tasks))] == [TINY, mini]
    with pytest.raises(ConfigError, match="cfg_path has no file for 'clip/salmu_mini_retrieval'"):
        settings(sweep(cfg_path={"salmu_tiny_retrieval": TINY}, tasks=tasks))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": ["vlul"]}, "unknown key 'method'; closest: 'methods'"),
        ({"methods": []}, "'methods' is missing or empty"),
        ({"methods": ["vlul", "vlul"]}, "'methods' names 'vlul' twice"),
        ({"methods": [3]}, "'methods' takes str values, found 3"),
        ({"df_sizes": ["many"]}, "'df_sizes' takes int values, found 'many'"),
        ({"df_sizes": [0]}, "'df_sizes' must be at least 1"),
        ({"seeds": [True]}, "'seeds' takes int values, found True"),
        ({"references": ["retrain"]}, "unknown reference 'retrain'; closest: 'retrained'"),
        ({"checkpoints": {"klean": "x"}}, "unknown reference 'klean'; closest: 'clean'"),
        ({"checkpoints": ["x"]}, "'checkpoints' is a mapping"),
        ({"cfg_path": 3}, "'cfg_path' is a file"),
        ({"budgets": [0]}, "'budgets' must be at least 1"),
        ({"reference_seeds": "all"}, "'reference_seeds' is 'all'"),
        ({"launcher": "slurms"}, "'launcher' is 'slurms'; closest: 'slurm'"),
        ({"grid": {"vlull": {}}}, "'grid' is for method 'vlull', which 'methods' lacks; closest: 'vlul'"),
        ({"grid": {"vlul": {"init_lr": 1e-3}}}, "'grid.vlul' maps run keys to lists of values"),
        ({"grid": {"vlul": {"init_lr": []}}}, "'grid.vlul' maps run keys to lists of values"),
        ({"settings": {"vlul": {"init_lr": 1}}}, "'settings.vlul' is a mapping {run: {key: value}}"),
        ({"slurm": ["x"]}, "'slurm' is a mapping"),
        ({"show_people": "yes"}, "'show_people' is true or false"),
        ({"gallery": -1}, "'gallery' is a number of portraits"),
        ({"report_dir": 3}, "'report_dir' is a folder"),
    ],
)
def test_bad_sweep_files_name_file_and_key(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=f"s.yaml: {re.escape(message)}"):
        sweep(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["vlull"]}, "unknown trainer 'vlull'; closest: 'vlul'"),
        ({"backbones": ["clap"]}, "unknown backbone 'clap'; closest: 'clip'"),
        ({"tasks": ["salmu_retrieval"]}, "task 'salmu_retrieval' goes with .* whose task is 'salmu_tiny_retrieval'"),
        ({"options": ["run.max_epochs=1"]}, "unknown key 'run.max_epochs'; closest: 'max_epoch'"),
        ({"df_sizes": [], "options": ["run.df_size=null"]}, "'df_sizes' is empty"),
    ],
)
def test_bad_grids_fail_before_anything_runs(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand(sweep(**change))


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "\x00"])
def test_files_that_are_not_sweeps(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="s.yaml"):
        load_sweep(path)


def test_a_missing_file_and_a_single_value(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="configs/sweep"):
        load_sweep(tmp_path / "nothing.yaml")
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"cfg_path": TINY, "methods": "vlul", "seeds": None}))
    assert load_sweep(path).methods == ["vlul"]
    assert load_sweep(path).seeds == []
