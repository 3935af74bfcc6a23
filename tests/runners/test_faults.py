"""Processes that die: a rank, the launcher, a loader worker, a writer in the middle of a file. Nothing may be lost."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lavis.common.checkpoint import all_checkpoints, load_checkpoint
from lavis.common.errors import CheckpointError, TrainingError
from lavis.trainers.base import BaseTrainer
from tests.processes import launched, run, start
from tests.runners.interrupted import BEST, command, folder, same_weights, wait_for


def kill_when(words: list[str], what: Callable[[], object]) -> None:
    """Start a run and kill it as soon as `what()` is true."""
    process = start(words)
    wait_for(process, what)
    process.kill()
    process.communicate()


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def completed(words: list[str], processes: int = 1) -> str:
    done = run(words, processes, fresh=processes > 1)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def straight(world) -> Path:
    completed(command(world, "straight"))
    return folder(world, "straight")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_dead_worker_is_one_message_and_the_run_goes_on(world, straight):
    words = command(world, "worker", "run.num_workers=2")
    place = folder(world, "worker")
    process = start(words)
    wait_for(process, lambda: all_checkpoints(place) and children(process.pid))
    victims = children(process.pid)
    while not victims and process.poll() is None:
        victims = children(process.pid)
    os.kill(victims[0], signal.SIGKILL)
    error = process.communicate(timeout=120)[1]
    if process.returncode == 0:
        pytest.skip("the worker had done all its work before it was killed")
    assert process.returncode == 2, error
    assert "Traceback" not in error
    assert error.count("error: a process that reads images died") == 1, error
    assert "Resumed from" in completed(words)
    assert same_weights(place, straight)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_kill_9_of_one_rank_ends_the_other_and_the_run_goes_on(world):
    completed(command(world, "two-straight"), processes=2)
    words = command(world, "two")
    process = start(launched(words, 2), fresh=True)
    place = folder(world, "two")
    wait_for(process, lambda: all_checkpoints(place) and len(children(process.pid)) >= 2)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    error = process.communicate(timeout=120)[1]
    assert process.returncode != 0, error
    assert "Resumed from" in completed(words, processes=2)
    assert same_weights(place, folder(world, "two-straight"))


def test_kill_9_while_a_checkpoint_is_written(world, straight):
    """Only the file under its temporary name is left unfinished, never a checkpoint."""
    words = command(world, "writing", "run.save_freq_steps=1")
    place = folder(world, "writing")
    kill_when(words, lambda: all_checkpoints(place) and list(place.glob(".checkpoint_*.tmp")))
    for path in all_checkpoints(place):
        load_checkpoint(path)
    assert "Resumed from" in completed(words)
    assert same_weights(place, straight)
    assert not list(place.glob(".checkpoint_*.tmp"))


def test_times_of_files_do_not_matter(world, straight):
    """After the clock was set back: the newest checkpoint is the one with the most steps, whatever its time."""
    words = command(world, "clock")
    place = folder(world, "clock")
    kill_when(words, lambda: len(all_checkpoints(place)) >= 2)
    found = all_checkpoints(place)
    for age, path in enumerate(found):
        moment = time.time() + 86400 * (1 if age == 0 else -age)
        os.utime(path, (moment, moment))
    assert f"Resumed from {found[-1]}" in completed(words)
    assert same_weights(place, straight)


def test_when_every_checkpoint_is_damaged_none_is_deleted(unlearn, unlearned):
    place = unlearned("vlul", "run.evaluate_after=false")
    for path in all_checkpoints(place):
        path.write_bytes(path.read_bytes()[:1000])
    before = sorted(place.iterdir())
    with pytest.raises(CheckpointError, match=r"none of the \d+ checkpoints .* run.resume=false"):
        unlearn("vlul", "run.evaluate_after=false")
    assert sorted(place.iterdir()) == before
    unlearn("vlul", "run.evaluate_after=false", "run.resume=false")
    assert load_checkpoint(all_checkpoints(place)[-1])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_kill_9_of_the_launcher_and_the_run_goes_on(world):
    """Its ranks may live on for a while and keep the folder locked; once they have ended the same command continues."""
    if not (folder(world, "two-straight") / BEST).exists():
        completed(command(world, "two-straight"), processes=2)
    words = command(world, "launcher")
    process = start(launched(words, 2), fresh=True)
    place = folder(world, "launcher")
    wait_for(process, lambda: all_checkpoints(place) and len(children(process.pid)) >= 2)
    ranks = children(process.pid)
    process.kill()
    process.wait()
    meanwhile = run(words, 2, fresh=True)
    assert meanwhile.returncode == 0 or "another run" in meanwhile.stderr, meanwhile.stderr
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{rank}/stat").exists() for rank in ranks) and time.monotonic() < deadline:
        time.sleep(0.1)
    completed(words, processes=2)
    assert same_weights(place, folder(world, "two-straight"))


@pytest.mark.skipif(sys.platform != "linux", reason="uses ulimit -f")
def test_a_file_that_the_system_refuses_to_write_leaves_the_former_checkpoints(world, straight):
    """The system really refuses (by a limit on file sizes), in the middle of a real checkpoint."""
    words = command(world, "limited")
    place = folder(world, "limited")
    kill_when(words, lambda: len(all_checkpoints(place)) >= 2)
    before = {path: path.read_bytes() for path in all_checkpoints(place)}
    done = run(["bash", "-c", 'ulimit -f 2000 && exec "$@"', "limited", *words], fresh=True)
    assert done.returncode == 2 and done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr, done.stderr
    assert "could not be written" in done.stderr and str(place) in done.stderr
    assert {path: path.read_bytes() for path in all_checkpoints(place)} == before
    assert "Resumed from" in completed(words)
    assert same_weights(place, straight)


@pytest.mark.parametrize("each", [True, False], ids=["each step", "read later"])
def test_a_batch_that_is_not_finite_ends_the_run_and_the_rest_is_as_if_it_had_not_been(unlearn, monkeypatch, each):
    """On a CPU it ends before the step; on a GPU, where reading the loss would make the host wait, before writing."""
    from lavis.trainers import erase

    monkeypatch.setattr(BaseTrainer, "reads_each_loss", each)
    real, seen = erase.erase_terms, []

    def poisoned(*given):
        seen.append(None)
        terms = real(*given)
        return {**terms, "retain": terms["retain"] * float("nan")} if len(seen) == 7 else terms

    options = ("run.max_epoch=3", "run.evaluate_after=false")
    whole = unlearn("erase", *options, name="whole")
    monkeypatch.setattr(erase, "erase_terms", poisoned)
    message = r"not finite \(retain = nan\) at epoch 1" if each else r"became not finite by step 4 of epoch 1"
    with pytest.raises(TrainingError, match=message):
        unlearn("erase", *options, name="poisoned")
    assert len(seen) == 7 if each else len(seen) > 7
    place = whole.parents[4] / "poisoned" / whole.relative_to(whole.parents[3])
    assert [path.name for path in all_checkpoints(place)] == ["checkpoint_0.pth"]
    assert same_weights(unlearn("erase", *options, name="poisoned"), whole)
    assert len(seen) < 9 + 12  # it resumed and did not start over
