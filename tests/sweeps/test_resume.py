"""A sweep of real jobs that is killed twice and resumed: its table equals that of an undisturbed one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from lavis.sweeps.lanes import Lane, LocalProcess, head_log
from lavis.sweeps.pool import Pool
from tests.small import SmallWorld
from tests.sweeps.stubs import write_job

ROOT = Path(__file__).resolve().parents[2]
LATE = """
import fcntl, json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True)
with (folder / ".lock").open("a+") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "ready").write_text("")
    time.sleep(1.5)
    (folder / "results.json").write_text(json.dumps({"finished": sys.argv[2] == "finish"}))
"""


def wait_for(condition: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("end", "status", "starts"), [("finish", "skipped", False), ("die", "done", True)])
def test_a_job_that_outlived_its_sweep_is_waited_for(tmp_path: Path, end: str, status: str, starts: bool) -> None:
    """It is not started a second time while it runs, but afterwards if it did not finish."""
    job, other = write_job(tmp_path, "one"), write_job(tmp_path, "two")
    left_over = subprocess.Popen([sys.executable, "-c", LATE, str(job.folder), end])
    wait_for((job.folder / "ready").exists)
    outcomes = Pool([Lane("a"), Lane("b")]).run([job, other])
    assert left_over.wait(timeout=10) == 0
    assert [outcome.status for outcome in outcomes] == [status, "done"]
    assert (job.folder / "starts").exists() is starts


@pytest.mark.parametrize("rerun", [False, True])
def test_two_sweeps_of_the_same_jobs_start_each_once(tmp_path: Path, rerun: bool) -> None:
    jobs = [write_job(tmp_path, str(number)) for number in range(6)]
    with ThreadPoolExecutor(2) as sweeps:
        pools = [Pool([Lane("a"), Lane("b")], rerun=rerun) for _ in range(2)]
        outcomes = [future.result() for future in [sweeps.submit(pool.run, jobs) for pool in pools]]
    assert [(job.folder / "starts").read_text() for job in jobs] == ["x"] * len(jobs)
    assert [sorted((one.status, other.status)) for one, other in zip(*outcomes, strict=True)] == [
        ["done", "skipped"]
    ] * len(jobs)


def test_a_job_keeps_its_claim_when_its_sweep_is_killed(tmp_path: Path) -> None:
    """Before it has locked its own folder, too: a second sweep waits for it and does not start it."""
    job = write_job(tmp_path, "one", "hang")
    with job.claimed() as inherited:
        assert inherited is not None
        head_log(job)
        process = LocalProcess(job, Lane("a", inherited=(inherited,)))
    assert job.busy
    process.kill()
    assert not job.busy


def test_changed_jobs_are_repeated_with_rerun(tmp_path: Path) -> None:
    pool = Pool([Lane("a")], rerun=True)
    job = write_job(tmp_path, "one")
    below = job.folder / "budget-5" / "results.json"
    assert [o.status for o in pool.run([job])] == ["done"]
    below.parent.mkdir()
    below.write_text("{}")
    assert [o.status for o in pool.run([job])] == ["skipped"]
    assert [o.status for o in pool.run([write_job(tmp_path, "one", "env")])] == ["done"]
    assert (job.folder / "starts").read_text() == "xx"
    assert below.exists()


class Bench:
    """A sweep of two methods in the small world, with its report in `folder`."""

    def __init__(self, world: SmallWorld, folder: Path) -> None:
        self.folder, self.output = folder, folder / "out"
        start = world.output / "original" / "clip" / "salmu_retrieval" / "checkpoint_best.pth"
        options = [f"run.output_dir={self.output}", f"run.resume_ckpt_path={start}", "run.max_epoch=3"]
        content = {"cfg_path": str(world.config), "methods": ["vlul", "delete"], "references": [], "gallery": 0}
        content |= {"df_sizes": [16], "options": [*options, "run.save_freq_steps=1", "run.device=cpu"]}
        folder.mkdir()
        (folder / "sweep.yaml").write_text(yaml.safe_dump(content | {"report_dir": str(folder / "report")}))

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(ROOT / "bash" / "run.py"), str(self.folder / "sweep.yaml"), "--jobs", "1"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "VIRTUAL_ENV": "kept"}
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment)

    def checkpoints(self, method: str) -> list[Path]:
        return list(self.output.glob(f"unlearn-{method}/clip/salmu_retrieval/16/checkpoint_*.pth"))

    def table(self) -> list[tuple[str, dict[str, float]]]:
        content = json.loads((self.folder / "report" / "results.json").read_text())
        return [(row["name"], row["metrics"]) for row in content["rows"]]


def job_of(method: str, launcher: int) -> int:
    """The process id of the sweep's job."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == launcher and method.encode() in words:
            return int(folder.name)
    raise AssertionError(f"no job of {method}")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the job's process through /proc")
def test_killed_twice_it_ends_with_the_same_table(trained_world: SmallWorld, tmp_path: Path) -> None:
    """The launcher is killed while vlul runs, later the job of delete; the third start finishes the sweep."""
    broken, whole = Bench(trained_world, tmp_path / "broken"), Bench(trained_world, tmp_path / "whole")
    launcher = broken.start()
    wait_for(lambda: broken.checkpoints("vlul"))
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    second = broken.start()
    wait_for(lambda: broken.checkpoints("delete"))
    os.kill(job_of("delete", second.pid), signal.SIGKILL)
    assert second.wait(timeout=120) == 1
    page = (broken.folder / "report" / "index.html").read_text()
    assert re.search(r"delete · clip · salmu_retrieval · 16 · seed \d+ failed with exit code -9", page)
    assert [name for name, _ in broken.table()] == ["vlul"]
    assert broken.start().wait(timeout=120) == 0
    assert whole.start().wait(timeout=120) == 0
    assert [name for name, _ in broken.table()] == ["vlul", "delete"]
    assert broken.table() == whole.table()
    assert "Resumed from" in "".join(path.read_text() for path in (broken.output / "logs").glob("delete*"))
