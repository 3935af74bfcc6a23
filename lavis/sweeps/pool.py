"""Runs jobs as subprocesses, one a lane, and goes on after a failed one."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lavis.sweeps.jobs import Job, log_tail
from lavis.sweeps.lanes import Lane
from lavis.sweeps.process import Process, Start, head_log, start_process
from lavis.sweeps.progress import ProgressDisplay, clock

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.1
STOPPED_CODES = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT)


@dataclass(frozen=True)
class JobResult:
    """What became of a job: status is done, skipped, failed or stopped; `code` is the exit code where it ran."""

    job: Job
    status: str
    code: int | None = None
    seconds: float = 0.0
    tail: list[str] = field(default_factory=list)


@dataclass
class _Running:
    job: Job
    lane: Lane
    process: Process
    offset: int
    started: float


class Pool:
    """Runs a list of jobs over lanes.

    SIGINT and SIGTERM are passed on to the running jobs as SIGTERM (they write a checkpoint and end); jobs that
    have not ended `grace` seconds later, or at a second signal, are killed. No further job is started.
    `stopped_by` then holds the signal's number.

    A job that outlived an earlier sweep (its launcher was killed) is waited for, and counts as a lane in use. With
    `rerun`, finished jobs whose settings or inputs have changed since run anew. `start` is how a job is begun: as a
    process of this machine, or handed to a cluster.
    """

    def __init__(
        self, lanes: Sequence[Lane], *, grace: float = 60.0, rerun: bool = False, start: Start = start_process
    ) -> None:
        if not lanes:
            raise ValueError("a pool needs at least one lane")
        self.lanes = list(lanes)
        self.grace = grace
        self.rerun = rerun
        self.start = start
        self.stopped_by: int | None = None
        self._signals = 0
        self._running: list[_Running] = []
        self._followed: set[int] = set()

    def run(self, jobs: Sequence[Job]) -> list[JobResult]:
        """Run all jobs; outcomes come in the order of `jobs`."""
        outcomes: dict[int, JobResult] = {}
        with self._handlers(), ProgressDisplay(len(jobs), len(self.lanes)) as progress:
            waiting = list(self._sift(jobs, outcomes, progress))
            places = {id(job): place for place, job in enumerate(jobs)}
            try:
                while waiting or self._running:
                    self._fill(waiting, places, outcomes, progress)
                    self._reap(places, outcomes, progress)
                    progress.show([(r.job.name, time.monotonic() - r.started) for r in self._running])
                    time.sleep(POLL_SECONDS)
                    if self.stopped_by is not None:
                        waiting.clear()
                        self._end_all(places, outcomes, progress)
            finally:
                self._kill_all()
        return [outcomes.get(place) or JobResult(job, "stopped") for place, job in enumerate(jobs)]

    def _sift(self, jobs: Sequence[Job], outcomes: dict[int, JobResult], progress: ProgressDisplay) -> Iterator[Job]:
        for place, job in enumerate(jobs):
            if not job.finished:
                yield job
                continue
            doubt = job.doubt()
            if doubt and self.rerun and not job.busy:
                progress.say(f"{job.name}: runs anew, {doubt.rpartition(';')[0]}")
                job.forget_results()
                yield job
                continue
            outcomes[place] = JobResult(job, "skipped", 0)
            progress.step(f"{job.name}: finished before, skipped{f' - but {doubt}' if doubt else ''}")

    def _fill(
        self, waiting: list[Job], places: dict, outcomes: dict[int, JobResult], progress: ProgressDisplay
    ) -> None:
        """Start waiting jobs on the lanes that are free."""
        taken = [running.lane for running in self._running]
        free = [lane for lane in self.lanes if lane not in taken]
        for lane in free[self._left_over(waiting, places, outcomes, progress) :] if free else []:
            job = next((job for job in waiting if id(job) not in self._followed), None)
            if job is None or self.stopped_by is not None:
                return
            waiting.remove(job)
            try:
                offset, began = head_log(job), time.monotonic()
                self._running.append(_Running(job, lane, self.start(job, lane), offset, began))
                progress.say(f"{job.name}: started on {lane.name}, log {job.log}")
            except OSError as error:
                outcomes[places[id(job)]] = JobResult(job, "failed", None, 0.0, [f"could not be started: {error}"])
                progress.step(f"{job.name}: FAILED, could not be started: {error}")

    def _left_over(
        self, waiting: list[Job], places: dict, outcomes: dict[int, JobResult], progress: ProgressDisplay
    ) -> int:
        """How many waiting jobs still run from an earlier sweep; those that have finished meanwhile are struck off."""
        for job in list(waiting):
            if job.busy:
                if id(job) not in self._followed:
                    progress.say(f"{job.name}: still running since an earlier sweep, waiting for it")
                self._followed.add(id(job))
            elif id(job) in self._followed:
                self._followed.discard(id(job))
                if job.finished:
                    waiting.remove(job)
                    outcomes[places[id(job)]] = JobResult(job, "skipped", 0)
                    progress.step(f"{job.name}: finished by the earlier sweep's process")
        return len(self._followed)

    def _reap(self, places: dict, outcomes: dict[int, JobResult], progress: ProgressDisplay) -> None:
        """Collect the jobs that have ended."""
        for running in list(self._running):
            code = running.process.poll()
            if code is None:
                continue
            self._running.remove(running)
            outcome = self._judge(running, code)
            outcomes[places[id(running.job)]] = outcome
            progress.step(_sentence(outcome), None if outcome.status == "stopped" else outcome.seconds)

    def _judge(self, running: _Running, code: int) -> JobResult:
        job, seconds = running.job, time.monotonic() - running.started
        if code == 0 and job.finished:
            return JobResult(job, "done", code, seconds)
        tail = log_tail(job.log, since=running.offset)
        if self.stopped_by is not None and code in STOPPED_CODES:
            return JobResult(job, "stopped", code, seconds, tail)
        if code == 0:
            tail.append(f"(it ended without a finished {job.folder / 'results.json'})")
        return JobResult(job, "failed", code, seconds, tail)

    def _end_all(self, places: dict, outcomes: dict[int, JobResult], progress: ProgressDisplay) -> None:
        """Pass the signal on and wait for the jobs to write their checkpoints."""
        progress.say(f"stopping {len(self._running)} running job(s); again to end them at once")
        seen, deadline = self._signals, time.monotonic() + self.grace
        for running in self._running:
            running.process.terminate()
        while self._running and time.monotonic() < deadline and self._signals == seen:
            self._reap(places, outcomes, progress)
            time.sleep(POLL_SECONDS)
        self._kill_all()
        self._reap(places, outcomes, progress)

    def _kill_all(self) -> None:
        """End what is left, with everything it started."""
        for running in self._running:
            running.process.kill()

    @contextmanager
    def _handlers(self) -> Iterator[None]:
        """Note SIGINT and SIGTERM instead of dying of them (only the main thread may)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        self._signals += 1
        self.stopped_by = self.stopped_by or number


def _sentence(outcome: JobResult) -> str:
    spent = clock(outcome.seconds)
    if outcome.status == "done":
        return f"{outcome.job.name}: done in {spent}"
    if outcome.status == "stopped":
        return f"{outcome.job.name}: stopped after {spent}, the same command goes on from there"
    quoted = "\n".join(f"    | {line}" for line in outcome.tail) or "    | (nothing)"
    head = f"{outcome.job.name}: FAILED with exit code {outcome.code} after {spent}; last lines of {outcome.job.log}:"
    return f"{head}\n{quoted}"
