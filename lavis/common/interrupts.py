"""Ctrl-C ends a command, also where Python would lose it.

A KeyboardInterrupt is lost if it is raised in a callback (imports run many), in a bare `except:` of a library, or where
C asks whether an object has an attribute. In commands, modules are therefore imported with the system's own handler.
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

AGAIN = 0.02  # seconds until a ctrl-C that was lost is sent again
_commands: list[bool] = []  # not empty in the process of a command; a notebook must not die from ctrl-C


@contextlib.contextmanager
def in_command() -> Iterator[None]:
    """This process is a command, which ctrl-C may end."""
    former, sys.unraisablehook = sys.unraisablehook, _not_lost
    _commands.append(True)
    try:
        yield
    finally:
        _commands.pop()
        sys.unraisablehook = former


@contextlib.contextmanager
def while_importing() -> Iterator[None]:
    """In a command: ctrl-C in here ends the process at once. Elsewhere, and in other threads, nothing changes."""
    main = threading.current_thread() is threading.main_thread()
    if not _commands or not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _not_lost(lost: Any) -> None:
    """Send a ctrl-C again that came while Python ran a callback, which cannot raise it."""
    if lost.exc_type is KeyboardInterrupt:
        again = threading.Timer(AGAIN, _thread.interrupt_main)
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(lost)
