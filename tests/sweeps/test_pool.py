"""The pool: jobs that finish, fail, had finished before, or are interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lavis.sweeps.jobs import Job
from lavis.sweeps.lanes import Lane
from lavis.sweeps.pool import Pool
from tests.sweeps.stubs import write_job

ROOT = Path(__file__).resolve().parents[2]
LANES = [Lane("cpu 0"), Lane("cpu 1")]
RUNNER = """
import pathlib, sys, logging
logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
from lavis.sweeps.lanes import Lane
from lavis.sweeps.pool import Pool
from tests.sweeps.stubs import write_job
folder = pathlib.Path(sys.argv[1])
pool = Pool([Lane("a"), Lane("b")], grace=float(sys.argv[3]))
outcomes = pool.run([write_job(folder, name, sys.argv[2]) for name in ("one", "two", "three")])
print([o.status for o in outcomes], pool.stopped_by)
"""


def statuses(pool: Pool, jobs: list[Job]) -> list[str]:
    return [outcome.status for outcome in pool.run(jobs)]


def test_goes_on_after_a_failed_job_and_shows_its_last_lines(tmp_path: Path, heard: pytest.LogCaptureFixture) -> None:
    jobs = [write_job(tmp_path, "bad", "fail"), write_job(tmp_path, "good"), write_job(tmp_path, "better")]
    outcomes = Pool(LANES[:1]).run(jobs)
    assert [o.status for o in outcomes] == ["failed", "done", "done"]
    assert outcomes[0].code == 3
    assert outcomes[0].tail == ["boom in line 7"]
    assert "    | boom in line 7" in heard.text
    assert "FAILED with exit code 3" in heard.text


def test_a_done_job_is_told_with_its_verdict_and_a_verdict_that_fails_ends_nothing(
    tmp_path: Path, heard: pytest.LogCaptureFixture
) -> None:
    jobs = [write_job(tmp_path, "one"), write_job(tmp_path, "bad", "fail"), write_job(tmp_path, "two")]
    told = {"one": "it forgot"}
    outcomes = Pool(LANES[:1]).run(jobs, lambda job: told[job.name])
    assert [o.status for o in outcomes] == ["done", "failed", "done"]
    assert ", it forgot (about " in heard.text and "no verdict: 'two'" in heard.text


def test_finished_jobs_are_not_run_again(tmp_path: Path, heard: pytest.LogCaptureFixture) -> None:
    jobs = [write_job(tmp_path, "one"), write_job(tmp_path, "two")]
    assert statuses(Pool(LANES), jobs) == ["done", "done"]
    assert statuses(Pool(LANES), [*jobs, write_job(tmp_path, "three")]) == ["skipped", "skipped", "done"]
    assert (tmp_path / "one" / "starts").read_text() == "x"
    assert "one: finished before, skipped" in heard.text


def test_a_failed_job_is_tried_again_by_the_next_sweep(tmp_path: Path) -> None:
    assert statuses(Pool(LANES), [write_job(tmp_path, "one", "fail")]) == ["failed"]
    assert statuses(Pool(LANES), [write_job(tmp_path, "one")]) == ["done"]


def test_other_settings_of_a_finished_job_are_pointed_out(tmp_path: Path, heard: pytest.LogCaptureFixture) -> None:
    assert statuses(Pool(LANES), [write_job(tmp_path, "one")]) == ["done"]
    assert statuses(Pool(LANES), [write_job(tmp_path, "one", "env")]) == ["skipped"]
    assert "results are of another command line" in heard.text


def test_exit_code_zero_without_results_is_a_failure(tmp_path: Path) -> None:
    (outcome,) = Pool(LANES).run([write_job(tmp_path, "one", "silent")])
    assert outcome.status == "failed"
    assert "without a finished" in outcome.tail[-1]


def test_a_command_that_does_not_exist_fails_alone(tmp_path: Path) -> None:
    ghost = Job("ghost", (str(tmp_path / "nothing"),), tmp_path / "ghost", tmp_path / "ghost.log")
    outcomes = Pool(LANES).run([ghost, write_job(tmp_path, "one")])
    assert [o.status for o in outcomes] == ["failed", "done"]
    assert "could not be started" in outcomes[0].tail[0]


def test_jobs_get_their_lane_and_no_shell(tmp_path: Path) -> None:
    name = "a; touch pwned $(id)"
    job = write_job(tmp_path, name, "env")
    assert statuses(Pool([Lane("gpu 3", {"CUDA_VISIBLE_DEVICES": "3"})]), [job]) == ["done"]
    assert json.loads((tmp_path / name / "env.json").read_text())["CUDA_VISIBLE_DEVICES"] == "3"
    assert not (tmp_path / "pwned").exists()


def test_no_jobs_and_no_lanes(tmp_path: Path) -> None:
    assert Pool(LANES).run([]) == []
    with pytest.raises(ValueError, match="at least one lane"):
        Pool([])


def start(folder: Path, mode: str, grace: float) -> subprocess.Popen[str]:
    """A pool of three jobs on two lanes in a separate process, once both lanes are busy."""
    command = [sys.executable, "-c", RUNNER, str(folder), mode, str(grace)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not all((folder / name / "ready").exists() for name in ("one", "two")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_jobs_and_starts_no_more(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, "hang", 20)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert out.strip() == f"['stopped', 'stopped', 'stopped'] {int(number)}"
    assert [(tmp_path / name / "checkpoint").exists() for name in ("one", "two", "three")] == [True, True, False]
    assert "stopping 2 running job(s)" in err


def test_jobs_that_ignore_the_signal_are_killed(tmp_path: Path) -> None:
    process = start(tmp_path, "deaf", 0.5)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert out.strip() == f"['stopped', 'stopped', 'stopped'] {int(signal.SIGTERM)}"


def test_a_second_signal_ends_jobs_at_once(tmp_path: Path) -> None:
    process = start(tmp_path, "deaf", 60)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert out.startswith("['stopped', 'stopped', 'stopped']")
