"""Where jobs run: lanes for one job at a time (GPUs, or shares of the CPU), and a job as a process of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess  # noqa: S404 - argument lists only, never a shell
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lavis.common.errors import ConfigError
from lavis.common.threads import cpus
from lavis.sweeps.jobs import Job

# OpenMP's waiting threads spin by default, which slows several processes on few cores several-fold. The variables must
# be set before torch is imported, so that the parent has to set them.
QUIET_THREADS = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
GROUPS = hasattr(os, "killpg")  # Windows has no process groups to kill, and children inherit no files there


@dataclass(frozen=True)
class Lane:
    """A place for one job at a time: its name, the environment variables for its jobs, open files they inherit."""

    name: str
    env: dict[str, str] = field(default_factory=dict)
    inherited: tuple[int, ...] = ()


def visible_gpus() -> list[str]:
    """CUDA devices as CUDA_VISIBLE_DEVICES names them: as in the variable if it is set, else 0, 1, …"""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return [name.strip() for name in named[:count]] or [str(number) for number in range(count)]


def make_lanes(jobs: int | None, device: str = "auto", environ: Mapping[str, str] | None = None) -> list[Lane]:
    """Lanes for `--jobs` and `run.device`.

    A GPU takes one job at a time, so that `jobs` can only lower the number of GPUs used. On the CPU the default is two
    jobs (one on a single core), each with one thread unless OMP_NUM_THREADS is set. A numbered device ("cuda:1") is one
    lane. Raises ConfigError for `jobs` below 1.
    """
    environ = os.environ if environ is None else environ
    if jobs is not None and jobs < 1:
        raise ConfigError(f"--jobs must be at least 1, got {jobs}")
    kind, _, number = str(device).partition(":")
    if number:
        return [Lane(device)]
    gpus = visible_gpus() if kind in ("auto", "cuda") else []
    if gpus:
        return [Lane(f"gpu {gpu}", {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in gpus[: jobs or len(gpus)]]
    env = {key: environ.get(key, value) for key, value in QUIET_THREADS.items()}
    return [Lane(f"cpu {place}", env) for place in range(jobs or min(2, cpus()))]


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
                pass_fds=lane.inherited if GROUPS else (),
            )

    def poll(self) -> int | None:
        return self._process.poll()

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it had ended
            if GROUPS:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()


def head_log(job: Job) -> int:
    """Write the command to the job's log and return the byte where its output begins."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        log.write(f"$ {job.shown}\n".encode())
        return log.tell()
