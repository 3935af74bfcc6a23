"""run.parallel=fsdp: real processes with parts of the model take the same steps as processes with all of it."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from torch import nn

from lavis.common import distributed
from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import ConfigError
from lavis.models.albef import AlbefRetrieval
from lavis.models.clip import ClipModel
from lavis.runners.fsdp import OLDEST, blocks, check_parallel
from lavis.settings.schema import RunConfig
from tests.processes import run
from tests.small import write_world

trains = pytest.mark.skipif(distributed.TORCH < OLDEST, reason="run.parallel=fsdp needs torch 2.7 or newer")
# Adam turns rounding of gradients near zero into whole steps, hence the large epsilon.
KEYS = {"batch_size_train": 4, "max_epoch": 2, "init_lr": 1e-3, "adam_eps": 1e-3, "max_grad_norm": 0.1}
FOLDER = "unlearn-{}/clip/salmu_retrieval/16"
PART = """
import torch
from torch import nn
from lavis.common import distributed
from lavis.common.cli import run_main
from lavis.runners.fsdp import is_sharded, shard, state_bytes, total_norm, whole
from lavis.runners.optim import build_optimizer
from lavis.settings.schema import RunConfig

class Tower(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 64) for _ in range(4)])
        self.scale = nn.Parameter(torch.tensor(1.5))
    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x * self.scale

def main(_):
    cpu = torch.device("cpu")
    distributed.setup(cpu)
    torch.manual_seed(0)
    tower = Tower()
    network = shard(nn.Sequential(tower), tower, cpu)
    optimizer = build_optimizer(tower, RunConfig(), cpu)
    network(torch.ones(2, 64)).square().mean().backward()
    norm = float(total_norm([p.grad for p in tower.parameters()]))
    optimizer.step()
    exact = sum(float(whole(p.grad).square().sum()) for p in tower.parameters()) ** 0.5
    everything = 2 * 4 * (4 * (64 * 64 + 64) + 1)
    assert abs(norm - exact) < 1e-5 * exact, (norm, exact)
    part = state_bytes(optimizer) / everything
    assert is_sharded(tower) and .45 < part < .55, part
    distributed.shutdown()
    print("held", flush=True)

run_main(main)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("sharding"), run_keys=KEYS)


@pytest.fixture(scope="module")
def original(world):
    """Original models (which also learn the temperature) by run.parallel, validated after every epoch."""
    found = {}
    for parallel in ("ddp", "fsdp"):
        out = world.path / f"original-{parallel}"
        options = (f"run.parallel={parallel}", f"run.output_dir={out}", "run.valid_splits=[test]")
        done = run(world.command("train.py", options=options), processes=2)
        assert done.returncode == 0, done.stderr
        found[parallel] = out / "original/clip/salmu_retrieval"
    return found


def away(one: dict, two: dict) -> float:
    assert one.keys() == two.keys()
    return max((one[name] - two[name]).abs().max().item() for name in one)


@trains
def test_training_ends_with_the_same_weights_optimiser_and_metrics(original):
    one, two = (load_checkpoint(original[way] / "checkpoint_1.pth") for way in ("ddp", "fsdp"))
    assert away(one["model"], two["model"]) <= 1e-6
    moments = [sorted(float(s["exp_avg_sq"].sum()) for s in c["optimizer"]["state"].values()) for c in (one, two)]
    assert moments[0] == pytest.approx(moments[1], rel=1e-3, abs=1e-12)
    first, second = (json.loads((original[way] / "results.json").read_text())["metrics"] for way in ("ddp", "fsdp"))
    assert first.keys() == second.keys() and first["test_r_mean"] == pytest.approx(second["test_r_mean"], abs=13)
    logs = [(original[way] / "log.txt").read_text().splitlines() for way in ("ddp", "fsdp")]
    assert all("test_txt_r1" in log[1] for log in logs)


@trains
@pytest.mark.parametrize("method", ["vlul", "neggrad"])
def test_unlearning_with_accumulation_is_that_of_whole_models(world, original, method):
    start = f"run.resume_ckpt_path={original['ddp'] / 'checkpoint_best.pth'}"
    found = []
    for parallel in ("ddp", "fsdp"):
        out = world.path / f"{method}-{parallel}"
        options = (start, f"run.output_dir={out}", f"run.parallel={parallel}", "run.accum_grad_iters=2")
        done = run(world.unlearn(method, options=options), processes=2)
        assert done.returncode == 0, done.stderr
        found.append(load_checkpoint(out / FOLDER.format(method) / "checkpoint_best.pth")["model"])
    assert away(*found) <= 1e-6


@trains
def test_a_run_goes_on_from_a_checkpoint(world, original):
    out = world.path / "resumed"
    options = (f"run.resume_ckpt_path={original['ddp'] / 'checkpoint_best.pth'}", f"run.output_dir={out}")
    command = world.unlearn(options=(*options, "run.parallel=fsdp"))
    assert run(command, processes=2).returncode == 0
    folder = out / FOLDER.format("vlul")
    last = folder / "checkpoint_1.pth"
    straight = load_checkpoint(last)
    last.unlink()
    (folder / "results.json").unlink()
    done = run(command, processes=2)
    assert done.returncode == 0 and "epoch 1, step 0" in done.stderr, done.stderr
    again = load_checkpoint(last)
    assert away(straight["model"], again["model"]) == 0
    states = zip(straight["optimizer"]["state"].values(), again["optimizer"]["state"].values(), strict=True)
    assert all(torch.equal(one[name], two[name]) for one, two in states for name in one)


@trains
def test_a_process_holds_its_part_of_weights_gradients_and_states(tmp_path):
    script = tmp_path / "part.py"
    script.write_text(PART)
    done = run([sys.executable, str(script)], processes=2)
    assert done.returncode == 0 and done.stdout.count("held") == 2, done.stderr


def test_blocks_are_the_layers_of_the_towers():
    inner = nn.ModuleList([nn.Sequential(nn.ModuleList([nn.Linear(2, 2)])), nn.Linear(2, 2)])
    model = nn.ModuleDict({"tower": nn.Sequential(inner), "other": nn.Linear(2, 2)})
    assert blocks(model) == list(inner)


def test_what_cannot_be_sharded_is_refused(monkeypatch):
    monkeypatch.setattr(distributed, "TORCH", (2, 6))
    with pytest.raises(ConfigError, match=r"needs torch 2\.7 or newer, and \d.* is installed; use run\.parallel=ddp"):
        check_parallel(RunConfig(parallel="fsdp"), ClipModel)
    check_parallel(RunConfig(), ClipModel)
    monkeypatch.setattr(distributed, "TORCH", (2, 10))  # 10 is more than 7
    with pytest.raises(ConfigError, match=r"does not support backbone 'albef'"):
        check_parallel(RunConfig(parallel="fsdp"), AlbefRetrieval)
    with pytest.raises(ConfigError, match="fp16"):
        check_parallel(RunConfig(parallel="fsdp", amp=True, amp_dtype="fp16"), ClipModel)
    check_parallel(RunConfig(parallel="ddp", amp=True, amp_dtype="fp16"), AlbefRetrieval)


@trains
def test_one_process_ignores_it(world, original):
    out = world.path / "alone"
    options = (f"run.resume_ckpt_path={original['ddp'] / 'checkpoint_best.pth'}", f"run.output_dir={out}")
    done = run(world.unlearn(options=(*options, "run.parallel=fsdp", "run.max_epoch=1")))
    assert done.returncode == 0, done.stderr
