"""A process that has imported everything a run needs, and forks once per command that it receives.

The children are real processes with their own id, signals and exit code. They skip the five seconds of imports at the
start and the teardown of all modules at the end. tests/processes.py is the client.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
import types
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

MODULES = ("torch._dynamo", "torch.distributed.fsdp", "torchvision", "open_clip", "transformers", "lavis.tasks.entry")


def preload() -> None:
    """Import without starting threads: a fork copies only the thread that calls it."""
    for name in MODULES:
        importlib.import_module(name)
    from lavis.common.registry import registry

    registry.discover()
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads after the imports; a fork would leave their locks held"
    gc.collect()
    gc.freeze()  # so that collections in the children do not touch the shared pages


class Server:
    """Takes requests from `control`. Answers each on its own socket with the child's id, and later its exit code."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.running: dict[int, socket.socket] = {}
        self.waker, self.wake = os.pipe()  # readable when a child has ended
        for end in (self.waker, self.wake):
            os.set_blocking(end, False)

    def serve(self) -> NoReturn:
        """Serve until the client closes `control`."""
        signal.set_wakeup_fd(self.wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready = select.select([self.control, self.waker], [], [])[0]
            if self.waker in ready:
                os.read(self.waker, 4096)
                self._report()
            if self.control in ready:
                self._fork()

    def _fork(self) -> None:
        message, handles, *_ = socket.recv_fds(self.control, 2**20, 3)
        if not message:
            self._end()
        pid = os.fork()
        reply, *streams = handles
        if pid == 0:
            self._forget(reply)
            become({**json.loads(message), "streams": streams})
        for stream in streams:
            os.close(stream)
        self.running[pid] = socket.socket(fileno=reply)
        self.running[pid].send(str(pid).encode())

    def _forget(self, reply: int) -> None:
        """In a child: close everything that belongs to the server."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self.waker, self.wake, reply):
            os.close(end)
        for other in (self.control, *self.running.values()):
            other.close()

    def _report(self) -> None:
        """Send the exit codes of children that have ended, unless the test that started one has given up."""
        for pid in list(self.running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with self.running.pop(pid) as reply, contextlib.suppress(BrokenPipeError):
                    reply.send(str(os.waitstatus_to_exitcode(status)).encode())

    def _end(self) -> NoReturn:
        for pid in self.running:
            os.kill(pid, signal.SIGKILL)
        os._exit(0)


def become(request: dict[str, Any]) -> NoReturn:
    """Turn this child into the requested interpreter, until its end."""
    if request["new_session"]:
        os.setsid()
    for stream, place in zip(request["streams"], (1, 2), strict=True):
        os.dup2(stream, place)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    random.seed()
    np.random.seed()
    code = exit_code(request["words"])
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)  # tearing down thousands of modules would take as long as the command


def exit_code(words: list[str]) -> int:
    """Run `python <words>`; returns the exit code that the interpreter would have had."""
    try:
        run_python(words)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def run_python(words: list[str]) -> None:
    """What `python <words>` runs: a script, `-c code` or `-m module`, with arguments."""
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(words[1], "<string>", "exec"), main.__dict__)  # noqa: S102
    else:
        sys.argv = words
        sys.path[0] = str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    preload()
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.send(b"ready")
    Server(channel).serve()
