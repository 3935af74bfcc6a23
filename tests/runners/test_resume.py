"""Interruptions: kill -9, SIGTERM, damaged checkpoints, other settings, two runs in one folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time

import pytest
import torch

from lavis.common.checkpoint import all_checkpoints, load_checkpoint
from lavis.common.errors import ConfigError, UserFault
from lavis.common.locks import release_in_child
from lavis.runners.run_dir import folder_lock
from tests.processes import run, start
from tests.runners.interrupted import command, folder, same_weights, wait_for

FAST = "run.evaluate_after=false"
FORTY = "run.max_epoch=40"
THREE = ("run.max_epoch=3", "run.keep_last=3", "run.evaluate_after=false")


def test_kill_9_three_times_ends_with_the_undisturbed_weights(world):
    straight = run(command(world, "straight", FORTY))
    assert straight.returncode == 0, straight.stderr
    draws = random.Random(7)
    place, undisturbed = folder(world, "disturbed"), folder(world, "straight")
    for _ in range(3):
        before = set(all_checkpoints(place)) if place.exists() else set()
        process = start(command(world, "disturbed", FORTY))
        wait_for(process, lambda before=before: set(all_checkpoints(place)) - before)
        time.sleep(draws.uniform(0, 0.15))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    last = run(command(world, "disturbed", FORTY))
    assert last.returncode == 0, last.stderr
    assert "Resumed from" in last.stderr
    assert same_weights(place, undisturbed)
    logs = [
        [line for line in (f / "log.txt").read_text().splitlines() if '"train_loss"' in line]
        for f in (place, undisturbed)
    ]
    assert len(logs[0]) == len(logs[1]) == 40


def test_sigterm_writes_a_checkpoint_and_ends_cleanly(world):
    place = folder(world, "term")
    process = start(command(world, "term", "run.max_epoch=4000", "run.save_freq_steps=50"))
    wait_for(process, lambda: all_checkpoints(place))
    process.terminate()
    text = process.communicate(timeout=60)[1]
    assert process.returncode == 143, text
    assert "stopped by SIGTERM" in text
    assert "Traceback" not in text
    position = load_checkpoint(all_checkpoints(place)[-1])["position"]
    assert (position["epoch"], position["step"]) > (0, 0)


def test_resume_skips_a_damaged_checkpoint(unlearn, unlearned, finished):
    folder = unlearned("erase", *THREE)
    newest = folder / "checkpoint_2.pth"
    newest.write_bytes(newest.read_bytes()[:1000])
    assert unlearn("erase", *THREE) == folder
    assert same_weights(finished("erase", *THREE), folder)


def test_resume_under_other_settings_is_refused_and_nothing_is_lost(unlearn, unlearned):
    folder = unlearned("erase", FAST)
    names = ("checkpoint_1.pth", "results.json", "log.txt")
    before = [(folder / name).read_bytes() for name in names]
    with pytest.raises(ConfigError, match=r"other settings \(run.init_lr: 0.001 then, 0.5 now\)"):
        unlearn("erase", FAST, "run.init_lr=0.5")
    assert [(folder / name).read_bytes() for name in names] == before


def test_settings_that_change_no_weight_may_differ(unlearn, unlearned, heard):
    former = unlearned("erase", FAST)
    folder = unlearn("erase", "run.batch_size_eval=4")
    assert former == folder and "Resumed from" in heard.text
    assert (folder / "results.json").is_file()


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
        ("datasets.salmu.vis_processor.eval.image_size=20", "model.override_recipe=true", "run.test_splits=[]"),
    ],
    ids=lambda changes: changes[0].split("=")[0],
)
def test_what_affects_no_weight_may_change_in_the_middle(unlearn, finished, tmp_path, heard, changes):
    straight = finished("erase", *THREE)
    folder = tmp_path / "out" / "unlearn-erase" / "clip" / "salmu_retrieval" / "16"
    folder.mkdir(parents=True)
    shutil.copy(straight / "checkpoint_0.pth", folder)
    assert unlearn("erase", *THREE, *changes) == folder
    assert "Resumed from" in heard.text and "epoch 1, step 0" in heard.text
    assert same_weights(folder, straight)


def test_two_runs_in_one_folder_are_refused(unlearn, tmp_path):
    folder = tmp_path / "out" / "unlearn-erase" / "clip" / "salmu_retrieval" / "16"
    with folder_lock(folder), pytest.raises(ConfigError, match="another run is writing to"):
        unlearn("erase")
    assert sorted(p.name for p in folder.iterdir()) == [".lock"]


def test_starting_over_deletes_the_former_checkpoints(unlearn, unlearned):
    long = unlearned("erase", FAST)
    short = unlearn("erase", FAST, "run.max_epoch=1", "run.resume=false")
    assert long == short
    assert [path.name for path in all_checkpoints(short)] == ["checkpoint_0.pth"]


def test_a_kill_before_the_link_is_repaired(unlearn, unlearned, finished):
    folder = unlearned("erase", FAST)
    (folder / "checkpoint_best.pth").unlink()
    unlearn("erase", FAST)
    assert same_weights(folder, finished("erase", FAST))


def test_another_number_of_micro_batches_per_step_is_refused(unlearn, unlearned):
    unlearned("erase", FAST)
    from lavis.runners import epoch

    real = epoch.EpochRunner._origin
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ConfigError, match="other batches per step"):
        patch.setattr(epoch.EpochRunner, "_origin", lambda self: {**real(self), "batches per step": 7})
        unlearn("erase", FAST)


def test_a_forked_worker_releases_its_copy_of_a_lock(tmp_path):
    reader, writer = os.pipe()
    released, release = os.pipe()
    with folder_lock(tmp_path):
        child = os.fork()
        if child == 0:
            release_in_child()
            os.write(release, b"x")
            os.read(reader, 1)
            os._exit(0)
        os.read(released, 1)
    with folder_lock(tmp_path):
        os.write(writer, b"x")
    assert os.waitpid(child, 0)[1] == 0


def test_sigterm_to_the_whole_group_with_loader_workers_writes_a_checkpoint(world):
    words = command(world, "group", "run.max_epoch=4000", "run.num_workers=2")
    process = start(words, new_session=True)
    wait_for(process, lambda: all_checkpoints(folder(world, "group")))
    os.killpg(process.pid, signal.SIGTERM)
    text = process.communicate(timeout=60)[1]
    assert process.returncode == 143, text
    assert "Traceback" not in text


@pytest.mark.parametrize("key", ["model", "optimizer", "random", "position", "config", "meter"])
def test_a_checkpoint_that_lacks_a_key_or_has_something_else_there_is_one_message(unlearn, unlearned, key):
    folder = unlearned("erase", FAST)
    whole = load_checkpoint(folder / "checkpoint_1.pth")
    for bad in ([1], {"x": [2**70]}, None):
        content = {name: value for name, value in whole.items() if name != key}
        for path in all_checkpoints(folder):
            path.unlink()
        torch.save(content if bad is None else content | {key: bad}, folder / "checkpoint_1.pth")
        with pytest.raises(UserFault, match="checkpoint"):
            unlearn("erase", FAST)
