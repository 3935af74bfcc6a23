"""On a CUDA device: the launcher with NCCL equals a plain run, half precision with clipping trains."""

from __future__ import annotations

import pytest

from lavis.common.checkpoint import load_checkpoint
from tests.processes import run

pytestmark = pytest.mark.gpu
SUB = ("unlearn-erase", "clip", "salmu_retrieval", "16")


def unlearned(world, path, *options: str, launch: bool = False) -> dict:
    start = world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    keys = ("run.device=cuda", f"run.output_dir={path}", f"run.resume_ckpt_path={start}", *options)
    command = world.unlearn("erase", options=keys)
    if launch:
        command[1:1] = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
    done = run(command, fresh=True)
    assert done.returncode == 0, done.stderr
    return load_checkpoint(path.joinpath(*SUB) / "checkpoint_best.pth")["model"]


def test_nccl_equals_a_plain_run(trained_world, tmp_path):
    plain = unlearned(trained_world, tmp_path / "plain")
    launched = unlearned(trained_world, tmp_path / "nccl", launch=True)
    assert max((plain[name] - launched[name]).abs().max().item() for name in plain) <= 1e-6


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_with_clipping_trains(trained_world, tmp_path, dtype):
    half = unlearned(trained_world, tmp_path / dtype, "run.amp=true", f"run.amp_dtype={dtype}", "run.max_grad_norm=1")
    full = unlearned(trained_world, tmp_path / "full", "run.max_grad_norm=1")
    gap = max((half[name] - full[name]).abs().max().item() for name in full)
    assert 0 < gap < 0.05
