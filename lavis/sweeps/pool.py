"""Runs jobs as subprocesses, one per lane, and continues after a failed one."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from lavis.sweeps.jobs import Job, log_tail
from lavis.sweeps.lanes import Lane, LocalProcess, Process, Start, head_log
from lavis.sweeps.progress import ProgressDisplay, clock

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.1
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has none
STOPPED_CODES = (-KILL, -signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGINT)


@dataclass(frozen=True)
class JobResult:
    """How a job ended: status is done, skipped, failed or stopped; `code` is its exit code if it ran."""

    job: Job
    status: str
    code: int | None = None
    seconds: float = 0.0
    tail: list[str] = field(default_factory=list)


Tell = Callable[[Job], str]  # what to log about a finished job's results, in one line; may be empty


def silent(job: Job) -> str:
    """A `tell` that says nothing."""
    return ""


@dataclass
class _Running:
    job: Job
    lane: Lane
    process: Process
    offset: int
    started: float
    claim: ExitStack


class Pool:
    """Runs a list of jobs over lanes.

    SIGINT and SIGTERM reach the running jobs as SIGTERM (they write a checkpoint and end); jobs that have not ended
    `grace` seconds later, or at a second signal, are killed. No further job is started, and `stopped_by` is the
    signal's number.

    A job that another sweep runs, or that outlived one that was killed, is waited for, and takes up a lane. With
    `rerun`, finished jobs whose settings or inputs have changed are repeated. `start` starts a job: as a process of
    this machine or on a cluster.
    """

    def __init__(
        self, lanes: Sequence[Lane], *, grace: float = 60.0, rerun: bool = False, start: Start = LocalProcess
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
        self._tell: Tell = silent
        self._followed: set[int] = set()
        self._results: dict[int, JobResult] = {}  # by the job's id, like _followed

    def run(self, jobs: Sequence[Job], tell: Tell = silent) -> list[JobResult]:
        """Run all jobs; returns their results in the order of `jobs`. tell: what to log about a finished one."""
        self._results, self._tell = {}, tell
        with self._handlers(), ProgressDisplay(len(jobs), len(self.lanes)) as progress:
            waiting = [job for job in jobs if not self._done_before(job, progress)]
            try:
                while waiting or self._running:
                    self._fill(waiting, progress)
                    self._reap(progress)
                    progress.show([(r.job.name, time.monotonic() - r.started) for r in self._running])
                    time.sleep(POLL_SECONDS)
                    if self.stopped_by is not None:
                        waiting.clear()
                        self._end_all(progress)
            finally:
                self._kill_all()
        return [self._results.get(id(job)) or JobResult(job, "stopped") for job in jobs]

    def _done_before(self, job: Job, progress: ProgressDisplay) -> bool:
        """Whether a job needs no run; its results are deleted if it is to be repeated."""
        if not job.finished:
            return False
        doubt = job.doubt()
        if doubt and self.rerun and not job.busy:
            progress.say(f"{job.name}: repeated, {doubt.rpartition(';')[0]}")
            job.forget_results()
            return False
        self._results[id(job)] = JobResult(job, "skipped", 0)
        progress.step(f"{job.name}: finished before, skipped{f' - but {doubt}' if doubt else ''}")
        return True

    def _fill(self, waiting: list[Job], progress: ProgressDisplay) -> None:
        """Start waiting jobs on free lanes."""
        taken = [running.lane for running in self._running]
        free = [lane for lane in self.lanes if lane not in taken]
        for lane in free[self._left_over(waiting, progress) :] if free else []:
            job = next((job for job in waiting if id(job) not in self._followed), None)
            if job is None or self.stopped_by is not None:
                return
            try:
                self._begin(job, lane, waiting, progress)
            except OSError as error:
                self._results[id(job)] = JobResult(job, "failed", None, 0.0, [f"could not be started: {error}"])
                progress.step(f"{job.name}: FAILED, could not be started: {error}")

    def _begin(self, job: Job, lane: Lane, waiting: list[Job], progress: ProgressDisplay) -> None:
        """Start a job unless another sweep is about to, or has finished it meanwhile. Raises OSError."""
        with ExitStack() as claim:
            waiting.remove(job)
            inherited = claim.enter_context(job.claimed())
            if inherited is None:
                waiting.append(job)  # the next look finds it busy
            elif job.finished:
                self._finished_elsewhere(job, progress)
            else:
                offset, began = head_log(job), time.monotonic()
                process = self.start(job, replace(lane, inherited=(inherited,)))
                self._running.append(_Running(job, lane, process, offset, began, claim.pop_all()))
                progress.say(f"{job.name}: started on {lane.name}, log {job.log}")

    def _finished_elsewhere(self, job: Job, progress: ProgressDisplay) -> None:
        self._results[id(job)] = JobResult(job, "skipped", 0)
        progress.step(f"{job.name}: finished by another sweep's process")

    def _left_over(self, waiting: list[Job], progress: ProgressDisplay) -> int:
        """How many waiting jobs still run from an earlier sweep; those that have finished leave the list."""
        for job in list(waiting):
            if job.busy:
                if id(job) not in self._followed:
                    progress.say(f"{job.name}: another sweep's process is running it, waiting for it")
                self._followed.add(id(job))
            elif id(job) in self._followed:
                self._followed.discard(id(job))
                if job.finished:
                    waiting.remove(job)
                    self._finished_elsewhere(job, progress)
        return len(self._followed)

    def _reap(self, progress: ProgressDisplay) -> None:
        """Collect the jobs that have ended."""
        for running in list(self._running):
            code = running.process.poll()
            if code is not None:
                self._running.remove(running)
                running.claim.close()
                result = self._results[id(running.job)] = self._judge(running, code)
                spent = [time.monotonic() - other.started for other in self._running]
                text = _sentence(result) + (self._verdict(result.job) if result.status == "done" else "")
                progress.step(text, None if result.status == "stopped" else result.seconds, spent)

    def _verdict(self, job: Job) -> str:
        try:
            told = self._tell(job)
        except Exception as error:  # noqa: BLE001 - a line of the log must not end a sweep
            told = f"no verdict: {error}"
        return f", {told}" if told else ""

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

    def _end_all(self, progress: ProgressDisplay) -> None:
        """Pass the signal on and wait for the jobs to write their checkpoints."""
        progress.say(f"stopping {len(self._running)} running job(s); again to end them at once")
        seen, deadline = self._signals, time.monotonic() + self.grace
        for running in self._running:
            running.process.terminate()
        while self._running and time.monotonic() < deadline and self._signals == seen:
            self._reap(progress)
            time.sleep(POLL_SECONDS)
        self._kill_all()
        self._reap(progress)

    def _kill_all(self) -> None:
        """Kill the remaining jobs, with everything they started."""
        for running in self._running:
            running.process.kill()
            running.claim.close()

    @contextmanager
    def _handlers(self) -> Iterator[None]:
        """Note SIGINT and SIGTERM instead of dying from them (only the main thread can)."""
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


def _sentence(result: JobResult) -> str:
    spent = clock(result.seconds)
    if result.status == "done":
        return f"{result.job.name}: done in {spent}"
    if result.status == "stopped":
        return f"{result.job.name}: stopped after {spent}, the same command continues from there"
    quoted = "\n".join(f"    | {line}" for line in result.tail) or "    | (nothing)"
    head = f"{result.job.name}: FAILED with exit code {result.code} after {spent}; last lines of {result.job.log}:"
    return f"{head}\n{quoted}"
