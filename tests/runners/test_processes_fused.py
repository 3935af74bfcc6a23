"""On fused encoders two processes and one that accumulates end with the same weights, queue and momentum copies."""

from __future__ import annotations

import sys

import pytest

from lavis.common.checkpoint import load_checkpoint, load_file
from tests.fused import ROOT, write_world
from tests.processes import run


@pytest.mark.parametrize(
    "family,data,method,option",
    [
        ("albef", "coco", "vlul", ""),  # S and the fused [CLS]; the matching head gets no gradient
        ("albef", "coco", "vlul", "run.select.rule=salun"),  # one process computes gradients of what gathers rows
        ("blip", "nlvr", "vlul", ""),
        pytest.param("albef", "coco", "ft", "", marks=pytest.mark.slow),  # its objective: queue, momentum copies
        pytest.param("blip", "nlvr", "ft", "", marks=pytest.mark.slow),
    ],
)
def test_two_gloo_processes_equal_one_with_accumulation(tmp_path, family, data, method, option):
    world = write_world(tmp_path, family, data, batch_size_train=4, evaluate_after=False, adam_eps=1e-3)
    start, found = world.untrained(), []
    for name, processes, accum in (("one", 1, 2), ("two", 2, 1)):
        own = [f"run.resume_ckpt_path={start}", f"run.output_dir={tmp_path / name}", f"run.accum_grad_iters={accum}"]
        own += [option] if option else []
        script, *words = world.command(method)
        done = run([sys.executable, str(ROOT / script), *words, "--options", *own], processes=processes)
        assert done.returncode == 0, done.stderr
        folder = tmp_path / name / f"unlearn-{method}" / family / world.job / "8"
        found.append(load_checkpoint(folder / "checkpoint_best.pth")["model"])
    one, two = found
    before = load_file(start)["model"]
    assert any((one[name] != before[name]).any() for name in one)
    assert max((one[name].double() - two[name].double()).abs().max().item() for name in one) <= 1e-6
