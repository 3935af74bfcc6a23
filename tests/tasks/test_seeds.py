"""Data, training, unlearning and evaluation have a seed each, and results name all four."""

from __future__ import annotations

import pytest

import evaluate
import train
import unlearn
from lavis.common.errors import ConfigError
from lavis.common.results import read_results
from lavis.settings.schema import RunConfig
from lavis.settings.validation import build
from tests.small import write_world

BEST = "checkpoint_best.pth"
UNLEARN = ("--unlearn_method", "ft", "--backbone", "clip", "--task", "salmu_retrieval")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    world = write_world(tmp_path_factory.mktemp("data"), run_keys={"max_epoch": 1, "metrics": ["retrieval"]})
    run_of(train, world, "run.seed=5")
    return world


def run_of(script, world, *options):
    words = [] if script is train else [*UNLEARN] if script is unlearn else []
    assert script.main([*words, "--cfg-path", str(world.config), "--options", *options]) == 0


def unlearned(world, name, *options):
    run_of(unlearn, world, f"run.run_folder={world.output / name}", *options)
    return read_results(world.output / name / "results.json")


def test_a_reference_names_its_training_seed(trained):
    found = read_results(next(trained.output.rglob("original/**/results.json")))["seeds"]
    assert found == {"data": {"forget_list": 42}, "training": 5, "unlearning": None, "evaluation": 42}


def test_each_seed_moves_its_own_part(trained):
    base = unlearned(trained, "base", "run.seed=9")
    same = unlearned(trained, "same", "run.seed=1", "run.unlearn_seed=9")
    other = unlearned(trained, "other", "run.seed=9", "run.unlearn_seed=8", "run.eval_seed=3")
    assert base["weights"] == same["weights"] != other["weights"]
    assert base["seeds"] == {"data": {"forget_list": 42}, "training": 5, "unlearning": 9, "evaluation": 42}
    assert same["seeds"] == base["seeds"]
    assert other["seeds"] == {**base["seeds"], "unlearning": 8, "evaluation": 3}


def test_an_evaluation_names_the_seeds_of_what_it_evaluates(trained):
    unlearned(trained, "known", "run.seed=9", "run.unlearn_seed=8")
    path, out = trained.output / "known" / BEST, trained.output / "apart"
    run_of(evaluate, trained, f"run.checkpoint={path}", f"run.output_dir={out}", "run.relearn.seed=4")
    found = read_results(next(out.rglob("results.json")))["seeds"]
    sections = {"salmubench": 42, "relearn": 4, "audit": 42}
    assert found == {"data": {"forget_list": 42}, "training": 5, "unlearning": 8, "evaluation": sections}
    (trained.output / "known" / "results.json").unlink()
    run_of(evaluate, trained, f"run.checkpoint={path}", f"run.output_dir={out}")
    found = read_results(next(out.rglob("results.json")))["seeds"]
    assert found["training"] is None and found["unlearning"] == 8


def test_the_seed_of_evaluation_reaches_every_section():
    run = build(RunConfig, {"eval_seed": 7, "audit": {"seed": 7}}, "run")
    assert [run.salmubench.seed, run.relearn.seed, run.audit.seed] == [7, 7, 7]
    with pytest.raises(ConfigError, match="run.eval_seed is 7 and run.audit.seed 8"):
        build(RunConfig, {"eval_seed": 7, "audit": {"seed": 8}}, "run")
