"""Commands as real processes, started from scratch or, in a hundredth of the time, by tests/fork_server.py.

`TEST_FRESH=1` starts every one of them from scratch.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 240.0  # a command that takes longer has failed
FRESH = os.environ.get("TEST_FRESH") == "1" or sys.platform != "linux"


def environment(**more: str) -> dict[str, str]:
    """One thread per process, and this checkout's packages before others on PYTHONPATH."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, **more}


@functools.cache
def _server() -> socket.socket:
    """The control socket of this test process's fork server, which ends with it."""
    own, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "tests.fork_server", str(its.fileno())]
    server = subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, pass_fds=[its.fileno()])
    its.close()
    assert own.recv(16) == b"ready", "the fork server did not start"
    atexit.register(_stop, server, own)
    return own


def _stop(server: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    server.wait()


class Forked:
    """A command in a child of the fork server, with the parts of `subprocess.Popen` that tests use."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str], new_session: bool = False) -> None:
        self.args = [sys.executable, *words]
        self.returncode: int | None = None
        self._streams: list[IO[bytes]] = [tempfile.TemporaryFile() for _ in range(2)]
        self._reply, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {"words": list(words), "env": dict(env), "cwd": str(Path.cwd()), "new_session": new_session}
        with its:
            handles = [its.fileno(), *(stream.fileno() for stream in self._streams)]
            socket.send_fds(_server(), [json.dumps(request).encode()], handles)
        self.pid = int(self._reply.recv(32))

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal. Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._reply], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._reply.recv(32))
            self._reply.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Its stdout and stderr, once it has ended."""
        self.wait(timeout)
        for stream in self._streams:
            stream.seek(0)
        out, error = (stream.read().decode() for stream in self._streams)
        return out, error

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Started = subprocess.Popen[str] | Forked


def start(
    command: Sequence[str],
    *,
    fresh: bool = False,
    env: Mapping[str, str] | None = None,
    new_session: bool = False,
) -> Started:
    """Start `command`, which begins with sys.executable, without waiting. `env` adds variables."""
    variables = environment(**(env or {}))
    if not (fresh or FRESH):
        return Forked(command[1:], variables, new_session)
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(list(command), env=variables, text=True, start_new_session=new_session, **streams)


def run(
    command: Sequence[str], processes: int = 1, *, fresh: bool = False, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end: in one process, or as the `processes` ranks of a process group.

    If fresh, torch.distributed.run starts the ranks; otherwise each is forked with the variables that it would set.
    """
    if processes == 1:
        return _ended(command, [start(command, fresh=fresh, env=env)])
    if fresh or FRESH:
        return _ended(command, [start(launched(command, processes), fresh=True, env=env)])
    ranks = rank_variables(processes)
    return _ended(command, [start(command, env={**(env or {}), **rank}) for rank in ranks])


def rank_variables(processes: int) -> list[dict[str, str]]:
    """The variables that torch.distributed.run sets for every rank of a group of this size."""
    shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [{"RANK": str(number), "LOCAL_RANK": str(number), **shared} for number in range(processes)]


def _ended(command: Sequence[str], running: Sequence[Started]) -> subprocess.CompletedProcess[str]:
    """Wait for all of them; if one fails, stop the others, as torch.distributed.run does."""
    deadline = time.monotonic() + SECONDS
    while len(running) > 1 and None in (codes := [process.poll() for process in running]):
        late = time.monotonic() > deadline
        for process in running if late or any(codes) else ():
            process.kill() if late else process.terminate()
        time.sleep(0.02)
    try:
        texts = [process.communicate(timeout=SECONDS) for process in running]
    finally:
        for process in running:
            process.kill()  # if it took too long
    codes = [process.returncode for process in running]
    code = max(codes) or min(codes)  # an exit code says more than the signal that stopped the others
    return subprocess.CompletedProcess(list(command), code, *("".join(parts) for parts in zip(*texts, strict=True)))


def launched(command: Sequence[str], processes: int) -> list[str]:
    """The command under torch.distributed.run."""
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={free_port()}"]
    return [command[0], *launcher, *command[1:]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
