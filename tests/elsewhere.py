"""A process that has only what Windows has: `python -m tests.elsewhere MODULE WORDS…` runs MODULE's `main` in it.

Modules that only Unix has cannot be imported, functions that only Unix has are missing, and loader workers are spawned.
The libraries that we build on are imported before that: on Windows they know where they are.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pkgutil
import signal
import sys
from multiprocessing import resource_tracker
from types import ModuleType

UNIX_MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty")
UNIX_FUNCTIONS = (
    *("fork", "getuid", "geteuid", "killpg", "posix_fallocate", "pread", "preadv", "pwrite", "pwritev"),
    *("register_at_fork", "sched_getaffinity", "setsid", "statvfs", "uname"),
)
UNIX_SIGNALS = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "pthread_sigmask")


def all_modules() -> list[str]:
    """Every module of the library, by importing each."""
    import lavis

    names = ["lavis", *(found.name for found in pkgutil.walk_packages(lavis.__path__, "lavis."))]
    for name in names:
        importlib.import_module(name)
    return names


def forget_library() -> None:
    """Have the next import of a module of the library execute it."""
    for name in [name for name in sys.modules if name.split(".")[0] == "lavis"]:
        del sys.modules[name]


def become_windows() -> None:
    """Take away what Windows has not. What stands in for `msvcrt` locks with the real `flock`."""
    sys.modules["msvcrt"] = fake_msvcrt()
    for name in UNIX_MODULES:
        sys.modules[name] = None  # type: ignore[assignment] - this is how Python marks a module as missing
    for name in UNIX_FUNCTIONS:
        delattr(os, name) if hasattr(os, name) else None
    for name in UNIX_SIGNALS:
        delattr(signal, name)
    os.symlink = no_links  # type: ignore[assignment]


def no_links(*_: object, **__: object) -> None:
    raise OSError(1314, "A required privilege is not held by the client")


def fake_msvcrt() -> ModuleType:
    """Windows' module, as far as we call it: the lock of a byte, which lasts until the file is closed."""
    import fcntl

    module = ModuleType("msvcrt")

    def locking(file: int, mode: int, count: int) -> None:
        assert (mode, count, os.lseek(file, 0, os.SEEK_CUR)) == (2, 1, 0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error

    module.locking, module.LK_NBLCK = locking, 2  # type: ignore[attr-defined]
    return module


def main(words: list[str]) -> None:
    """Import every module twice, here and as on Windows; then run the command, if there is one."""
    all_modules()
    forget_library()
    multiprocessing.set_start_method("spawn")
    resource_tracker.ensure_running()  # Python's own code for Unix
    become_windows()
    sys.stdout.write(f"{len(all_modules())} modules imported\n")
    if words:
        sys.exit(importlib.import_module(words[0]).main(words[1:]))


if __name__ == "__main__":
    main(sys.argv[1:])
