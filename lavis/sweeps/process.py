"""A job as a process of this machine, and the protocol of whatever runs a job."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess  # noqa: S404 - argument lists only, never a shell
from collections.abc import Callable
from typing import Protocol

from lavis.sweeps.jobs import Job
from lavis.sweeps.lanes import Lane


class Process(Protocol):
    """Something that runs a job, here or elsewhere."""

    def poll(self) -> int | None:
        """The exit code, None while it runs."""

    def terminate(self) -> None:
        """Ask it to write a checkpoint and end."""

    def kill(self) -> None:
        """End it, with everything it started."""


Start = Callable[[Job, Lane], Process]


class LocalProcess:
    """A subprocess in its own process group, so that a Ctrl-C reaches it only through the pool. Raises OSError."""

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
        with contextlib.suppress(ProcessLookupError):  # it had ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def head_log(job: Job) -> int:
    """Write the command to the job's log and return the byte where its output begins."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        log.write(f"$ {job.shown}\n".encode())
        return log.tell()
