"""Interruptions: kill -9, SIGTERM, damaged checkpoints, other settings, two runs in one folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time

import pytest
import torch

from lavis.common.checkpoint import all_checkpoints, load_checkpoint
from lavis.common.errors import ConfigError
from lavis.common.files import release_in_child
from lavis.runners.run_dir import folder_lock
from lavis.tasks.entry import unlearn as unlearn_entry
from tests.small import ROOT, run, write_world

LONG = ("run.max_epoch=40", "run.save_freq_steps=3", "run.evaluate_after=false", "run.accum_grad_iters=1")
THREE = ("run.max_epoch=3", "run.keep_last=3", "run.evaluate_after=false")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def weights(folder):
    return load_checkpoint(folder / "checkpoint_best.pth")["model"]


def same(a, b) -> bool:
    one, two = weights(a), weights(b)
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = write_world(tmp_path_factory.mktemp("resume"))
    done = run(made.command("train.py"))
    assert done.returncode == 0, done.stderr
    return made


def start(world, *options: str) -> subprocess.Popen:
    command = world.unlearn("vlul", options=(*LONG, *options))
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_progress(process, folder, before) -> None:
    """Until a checkpoint beyond `before` is there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if set(all_checkpoints(folder)) - before:
            return
        time.sleep(0.005)
    raise AssertionError(process.communicate()[1])


def test_kill_9_three_times_ends_with_the_undisturbed_weights(world):
    straight = run(world.unlearn("vlul", options=(*LONG, f"run.output_dir={world.path / 'straight'}", *_start(world))))
    assert straight.returncode == 0, straight.stderr
    draws = random.Random(7)
    disturbed = world.path / "disturbed"
    folder = disturbed / "unlearn-vlul" / "clip" / "salmu_retrieval" / "16"
    kills = 0
    while kills < 3:
        before = set(all_checkpoints(folder)) if folder.exists() else set()
        process = start(world, f"run.output_dir={disturbed}", *_start(world))
        wait_for_progress(process, folder, before)
        time.sleep(draws.uniform(0, 0.15))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        kills += 1
    last = run(world.unlearn("vlul", options=(*LONG, f"run.output_dir={disturbed}", *_start(world))))
    assert last.returncode == 0, last.stderr
    assert "Resumed from" in last.stderr
    undisturbed = world.path / "straight" / "unlearn-vlul" / "clip" / "salmu_retrieval" / "16"
    assert same(folder, undisturbed)
    logs = [
        [line for line in (f / "log.txt").read_text().splitlines() if '"train_loss"' in line]
        for f in (folder, undisturbed)
    ]
    assert len(logs[0]) == len(logs[1]) == 40


def _start(world) -> tuple[str, ...]:
    return (f"run.resume_ckpt_path={world.output / 'original/clip/salmu_retrieval/checkpoint_best.pth'}",)


def test_sigterm_writes_a_checkpoint_and_ends_cleanly(world):
    out = world.path / "term"
    folder = out / "unlearn-vlul" / "clip" / "salmu_retrieval" / "16"
    process = start(world, f"run.output_dir={out}", "run.max_epoch=4000", "run.save_freq_steps=50", *_start(world))
    wait_for_progress(process, folder, set())
    process.terminate()
    text = process.communicate(timeout=60)[1]
    assert process.returncode == 143, text
    assert "stopped by SIGTERM" in text
    assert "Traceback" not in text
    position = load_checkpoint(all_checkpoints(folder)[-1])["position"]
    assert (position["epoch"], position["step"]) > (0, 0)


def test_resume_skips_a_damaged_checkpoint(unlearn, tmp_path):
    whole = unlearn("erase", "run.evaluate_after=false", "run.max_epoch=3", "run.keep_last=3", name="whole")
    folder = unlearn("erase", "run.evaluate_after=false", "run.max_epoch=3", "run.keep_last=3", name="hurt")
    newest = folder / "checkpoint_2.pth"
    newest.write_bytes(newest.read_bytes()[:1000])
    unlearn("erase", "run.evaluate_after=false", "run.max_epoch=3", "run.keep_last=3", name="hurt")
    assert same(whole, folder)


def test_resume_under_other_settings_is_refused_and_nothing_is_lost(unlearn):
    folder = unlearn("erase", "run.evaluate_after=false")
    kept = ("checkpoint_1.pth", "results.json", "log.txt")
    before = [(folder / name).read_bytes() for name in kept]
    with pytest.raises(ConfigError, match=r"other settings \(run.init_lr: 0.001 then, 0.5 now\)"):
        unlearn("erase", "run.evaluate_after=false", "run.init_lr=0.5")
    assert [(folder / name).read_bytes() for name in kept] == before


def test_settings_that_change_no_weight_may_differ(unlearn):
    unlearn("erase", "run.evaluate_after=false")
    folder = unlearn("erase", "run.batch_size_eval=4")
    assert (folder / "results.json").is_file()


@pytest.fixture(scope="module")
def straight(trained_world, tmp_path_factory):
    """An undisturbed run of three epochs, which kept all of its checkpoints."""
    output = tmp_path_factory.mktemp("straight")
    start = trained_world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
    keys = [f"run.output_dir={output}", f"run.resume_ckpt_path={start}", *THREE]
    unlearn_entry(str(trained_world.config), keys, "clip", "salmu_retrieval", {"method": "erase", "df_size": 16})
    return output / "unlearn-erase" / "clip" / "salmu_retrieval" / "16"


@pytest.mark.parametrize(
    "changes",
    [
        ("run.feature_cache_gb=0.5",),
        ("run.relearn={steps: [0, 5], fraction: 0.5, lr: 1e-3, batch_size: 4, seed: 1}",),
        ("run.imagenet=/no/where",),
        ("run.num_beams=5", "run.num_ans_candidates=7", "run.inference_method=generate", "run.k_test=3"),
        ("run.alpha=0.9",),
        ("run.salmubench={acs_features: product, idzsc_prompt: photo, retfail_own_caption: keep, seed: 1}",),
        ("run.salmubench.distractors=5", "run.dr_max_ratio=1", "run.merge_equal_captions=false"),
        ("run.num_workers=1", "run.log_freq=1", "run.keep_last=1", "run.save_freq_steps=1"),
        ("datasets.salmu.image_cache=memory", "datasets.salmu.image_cache_gb=1", "run.feature_cache=null"),
        ("model.grad_checkpointing=true",),
        ("datasets.salmu.vis_processor.eval.image_size=20", "run.test_splits=[]"),
    ],
    ids=lambda changes: changes[0].split("=")[0],
)
def test_what_affects_no_weight_may_change_in_the_middle(unlearn, straight, tmp_path, heard, changes):
    folder = tmp_path / "out" / "unlearn-erase" / "clip" / "salmu_retrieval" / "16"
    folder.mkdir(parents=True)
    shutil.copy(straight / "checkpoint_0.pth", folder)
    assert unlearn("erase", *THREE, *changes) == folder
    assert "Resumed from" in heard.text and "epoch 1, step 0" in heard.text
    assert same(folder, straight)


def test_two_runs_in_one_folder_are_refused(unlearn, tmp_path):
    folder = tmp_path / "out" / "unlearn-erase" / "clip" / "salmu_retrieval" / "16"
    with folder_lock(folder), pytest.raises(ConfigError, match="another run is writing to"):
        unlearn("erase")
    assert sorted(p.name for p in folder.iterdir()) == [".lock"]


def test_starting_over_deletes_the_former_checkpoints(unlearn):
    long = unlearn("erase", "run.evaluate_after=false", "run.max_epoch=4")
    short = unlearn("erase", "run.evaluate_after=false", "run.max_epoch=1", "run.resume=false")
    assert long == short
    assert [path.name for path in all_checkpoints(short)] == ["checkpoint_0.pth"]


def test_a_kill_before_the_link_is_mended(unlearn):
    folder = unlearn("erase", "run.evaluate_after=false")
    (folder / "checkpoint_best.pth").unlink()
    unlearn("erase", "run.evaluate_after=false")
    assert (folder / "checkpoint_best.pth").resolve().name == "checkpoint_1.pth"


def test_another_number_of_micro_batches_a_step_is_refused(unlearn):
    unlearn("erase", "run.evaluate_after=false")
    content = "other batches a step"
    from lavis.runners import epoch

    real = epoch.EpochRunner._origin
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ConfigError, match=content):
        patch.setattr(epoch.EpochRunner, "_origin", lambda self: {**real(self), "batches a step": 7})
        unlearn("erase", "run.evaluate_after=false")


def test_a_locks_copy_in_a_forked_worker_is_let_go(tmp_path):
    reader, writer = os.pipe()
    with folder_lock(tmp_path):
        child = os.fork()
        if child == 0:
            release_in_child()
            os.read(reader, 1)
            os._exit(0)
    time.sleep(0.2)
    with folder_lock(tmp_path):
        os.write(writer, b"x")
    assert os.waitpid(child, 0)[1] == 0


def test_sigterm_to_the_whole_group_with_loader_workers_writes_a_checkpoint(world):
    out = world.path / "group"
    folder = out / "unlearn-vlul" / "clip" / "salmu_retrieval" / "16"
    keys = ("run.max_epoch=4000", "run.save_freq_steps=3", "run.num_workers=2", f"run.output_dir={out}")
    command = world.unlearn("vlul", options=(*LONG[2:], *keys, *_start(world)))
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for_progress(process, folder, set())
    os.killpg(process.pid, signal.SIGTERM)
    text = process.communicate(timeout=60)[1]
    assert process.returncode == 143, text
    assert "Traceback" not in text
