"""Budgets, per-method settings and grids: their cells, folders and names."""

from __future__ import annotations

from pathlib import Path

import pytest

from lavis.common.errors import ConfigError
from lavis.settings.changes import config_changes
from lavis.sweeps.plan import ROOT, Cell, compose, expand
from lavis.sweeps.references import reference_jobs
from lavis.sweeps.schema import SweepConfig, sweep_from_dict
from lavis.sweeps.variants import grid_points

TINY = "configs/clip/retrieval_salmu_tiny.yaml"
PLACE = "clip/salmu_tiny_retrieval/60"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def sweep(**more: object) -> SweepConfig:
    return sweep_from_dict({"cfg_path": TINY, "methods": ["vlul", "erase"], **more}, "s.yaml")


def options(cell: Cell) -> list[str]:
    return list(cell.job.argv[cell.job.argv.index("--options") + 1 :])


def test_budgets_are_passes_over_df_in_separate_folders() -> None:
    cells = expand(sweep(budgets=[1, 5]))
    assert [cell.label for cell in cells] == ["vlul 1×", "vlul 5×", "erase 1×", "erase 5×"]
    assert options(cells[1]) == ["run.max_epoch=5", "run.subfolder=budget-5"]
    assert cells[1].job.folder.as_posix() == f"output/unlearn-vlul/{PLACE}/budget-5"
    assert cells[1].job.config["run"]["max_epoch"] == 5


def test_methods_without_passes_over_df_run_once_whatever_the_budgets() -> None:
    cells = expand(sweep(methods=["dtd", "retrain", "ft"], budgets=[1, 5]))
    assert [cell.label for cell in cells] == ["dtd", "retrain", "ft 1×", "ft 5×"]
    assert "--options" not in cells[0].job.argv
    assert "max_epoch" not in cells[0].job.config["run"]


def test_a_grid_is_crossed_and_every_point_has_a_folder() -> None:
    grid = {"vlul": {"init_lr": ["1e-4", 0.5], "weights.md": [2]}}
    cells = expand(sweep(grid=grid, seeds=[7]))
    assert [cell.label for cell in cells] == [
        "vlul init_lr-1e-4_weights.md-2",
        "vlul init_lr-0.5_weights.md-2",
        "erase",
    ]
    assert cells[0].job.folder.as_posix() == f"output/unlearn-vlul/{PLACE}/init_lr-1e-4_weights.md-2/seed-7"
    assert cells[0].job.config["run"]["init_lr"] == 1e-4
    assert cells[0].job.config["run"]["weights"]["md"] == 2.0


def test_a_list_of_grids_is_their_union() -> None:
    points = grid_points([{"a": [1, 2], "b": [3]}, {"a": [2], "b": [3]}, {"c": [4]}])
    assert points == [(("a", 1), ("b", 3)), (("a", 2), ("b", 3)), (("c", 4),)]
    assert grid_points({}) == [()]


def test_settings_come_before_the_options_and_the_options_win() -> None:
    given = {"erase": {"run": {"init_lr": "1e-3", "weights": {"forget": 2}}}}
    vlul, erase = expand(sweep(settings=given, options=["run.init_lr=0.5"]))
    assert options(vlul) == ["run.init_lr=0.5"]
    assert options(erase) == ["run.init_lr=1e-3", "run.weights.forget=2", "run.init_lr=0.5"]
    assert erase.job.config["run"]["init_lr"] == 0.5
    assert erase.job.folder.as_posix() == f"output/unlearn-erase/{PLACE}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budgets": [1], "options": ["run.max_epoch=2"]}, "the options set run.max_epoch, which the sweep varies"),
        ({"budgets": [1], "grid": {"vlul": {"max_epoch": [2]}}}, "'grid.vlul' both vary max_epoch"),
        ({"grid": {"vlul": {"init_lrs": [2]}}}, "unknown key 'run.init_lrs'; closest: 'init_lr'"),
        ({"grid": {"vlul": {"weights.mdd": [2]}}}, "'vlul' has no term 'mdd'"),
    ],
)
def test_bad_grids_fail_before_anything_runs(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        expand(sweep(**change))


def test_references_for_every_seed_and_unlearning_from_its_own() -> None:
    cells = expand(sweep(methods=["vlul"], seeds=[42, 7], reference_seeds="each"))
    start = "output/original/clip/salmu_tiny_retrieval/seed-7/checkpoint_best.pth"
    assert "--options" not in cells[0].job.argv
    assert options(cells[1]) == ["run.seed=7", "run.seed_folder=true", f"run.resume_ckpt_path={start}"]
    assert cells[1].job.inputs == (Path(start),)
    assert expand(sweep(methods=["vlul"], seeds=[7]))[0].job.inputs == (Path(start).parents[1] / "checkpoint_best.pth",)
    jobs = reference_jobs(TINY, seed=["run.seed=7", "run.seed_folder=true"])
    assert [job.folder.as_posix() for job in jobs] == [
        "output/original/clip/salmu_tiny_retrieval/seed-7",
        "output/clean/clip/salmu_tiny_retrieval/seed-7",
        f"output/retrained/{PLACE}/seed-7",
    ]


def test_changes_of_a_configuration_are_those_that_matter() -> None:
    former, now = compose(TINY).to_dict(), compose(TINY, ("run.init_lr=0.5", "run.weights={md: 2}")).to_dict()
    assert config_changes(former, now) == ["run.init_lr 0.0005, now 0.5", "run.weights {}, now {'md': 2.0}"]
    assert config_changes(former, compose(TINY, ("run.device=cpu", "run.output_dir=x")).to_dict()) == []
    del now["run"]["init_lr"], now["run"]["weights"]
    assert config_changes(former, now) == []
    assert config_changes({}, now) == config_changes({"run": 3}, now) == config_changes(former, {}) == []
    other = compose(TINY, ("model.args={patch_dropout: 0.1}",)).to_dict()
    assert config_changes(compose(TINY).to_dict(), other) == ["model.args {}, now {'patch_dropout': 0.1}"]
