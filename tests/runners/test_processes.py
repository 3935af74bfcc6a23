"""Two processes and one that accumulates gradients end with the same weights and metrics."""

from __future__ import annotations

import json

import pytest

from lavis.common.checkpoint import load_checkpoint
from tests.processes import run
from tests.small import write_world

# 16 forget pairs in micro-batches of 2: 8 micro-batches, 4 steps of two per epoch, 20 steps in all.
KEYS = {"batch_size_train": 4, "max_epoch": 5, "init_lr": 1e-4}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    new_world = write_world(tmp_path_factory.mktemp("processes"), run_keys=KEYS)
    done = run(new_world.command("train.py"))
    assert done.returncode == 0, done.stderr
    return new_world


@pytest.mark.parametrize("method", ["vlul", "erase", "delete"])
def test_two_gloo_processes_equal_one_with_accumulation(world, method):
    start = f"run.resume_ckpt_path={world.output / 'original/clip/salmu_retrieval/checkpoint_best.pth'}"
    folders = []
    for name, processes, accum in (("one", 1, 2), ("two", 2, 1)):
        out = world.path / f"{method}-{name}"
        options = (start, f"run.output_dir={out}", f"run.accum_grad_iters={accum}")
        as_users_do = method == "vlul" and processes > 1  # one of the three goes through torch.distributed.run
        done = run(world.unlearn(method, options=options), processes, fresh=as_users_do)
        assert done.returncode == 0, done.stderr
        folders.append(out / f"unlearn-{method}" / "clip" / "salmu_retrieval" / "16")
    one, two = (load_checkpoint(folder / "checkpoint_best.pth")["model"] for folder in folders)
    assert max((one[name] - two[name]).abs().max().item() for name in one) <= 1e-6
    results = [json.loads((folder / "results.json").read_text())["metrics"] for folder in folders]
    assert results[0] == results[1]
    records = [json.loads((folder / "log.txt").read_text().splitlines()[-2]) for folder in folders]
    assert records[0]["train_loss"] == pytest.approx(records[1]["train_loss"], abs=1e-6)


def test_gathered_similarities_of_two_processes_are_those_of_one_with_their_whole_batch(world):
    start = f"run.resume_ckpt_path={world.output / 'original/clip/salmu_retrieval/checkpoint_best.pth'}"
    found = {}
    for name, processes, size, gather in (("one", 1, 8, False), ("two", 2, 4, True), ("apart", 2, 4, False)):
        out = world.path / f"gather-{name}"
        options = (start, f"run.output_dir={out}", f"run.batch_size_train={size}", f"run.gather_similarity={gather}")
        # Adam turns rounding of gradients near zero into whole steps
        done = run(world.unlearn("erase", options=(*options, "run.adam_eps=1e-3")), processes=processes)
        assert done.returncode == 0, done.stderr
        path = out / "unlearn-erase" / "clip" / "salmu_retrieval" / "16" / "checkpoint_best.pth"
        found[name] = load_checkpoint(path)["model"]
    one = found.pop("one")
    away = {name: max((one[key] - two[key]).abs().max().item() for key in one) for name, two in found.items()}
    assert away["two"] <= 1e-6 < away["apart"]
