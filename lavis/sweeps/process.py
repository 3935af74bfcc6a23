"""A job as a process of this machine, and what the pool asks of whatever runs a job."""

from __future__ import annotations

import os
import signal
import subprocess  # noqa: S404 - argument lists only, never a shell
from collections.abc import Callable
from typing import Protocol

from lavis.sweeps.jobs import Job
from lavis.sweeps.lanes import Lane


class Process(Protocol):
    """What runs a job, here or elsewhere."""

    def poll(self) -> int | None:
        """The exit code; None while it runs."""

    def terminate(self) -> None:
        """Ask it to write a checkpoint and end."""

    def kill(self) -> None:
        """End it, with everything it started."""


Start = Callable[[Job, Lane], Process]


class LocalProcess:
    """A subprocess in a process group of its own, so that a Ctrl-C reaches it through the pool only."""

    def __init__(self, job: Job, lane: Lane) -> None:
        with job.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - an argument list
                job.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **lane.env},
                start_new_session=True,
            )

    def poll(self) -> int | None:
        return self._process.poll()

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it had ended
        self._process.wait()


def start_process(job: Job, lane: Lane) -> Process:
    """Start a job here and now. Raises OSError when its program cannot be run."""
    return LocalProcess(job, lane)


def head_log(job: Job) -> int:
    """Write the command into the job's log and return where its output begins."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        log.write(f"$ {job.shown}\n".encode())
        return log.tell()
