"""Disk errors end in one message and exit code 2."""

from __future__ import annotations

import errno
import os
import signal
import sys

import pytest

from lavis.common.cli import DISK_ERRORS, run_main
from lavis.common.interrupts import while_importing
from tests.processes import run

ENDING = """
import atexit, os, sys
import torch  # a process without it has no group
from lavis.common.cli import run_main
class Held:
    def __del__(self, write=os.write):
        write(2, b"finalised ")
held = Held()
atexit.register(os.write, 2, b"exit handlers ")
run_main(lambda _: int(sys.argv[1]))
"""


@pytest.mark.parametrize("number", sorted(DISK_ERRORS), ids=errno.errorcode.get)
def test_an_error_of_the_disk_is_one_message(number, capsys):
    def failing(_):
        raise OSError(number, os.strerror(number), "some/file")

    with pytest.raises(SystemExit) as caught:
        run_main(failing)
    printed = capsys.readouterr().err
    assert caught.value.code == 2 and printed.count("\n") == 1
    assert printed.startswith("error: ") and "some/file" in printed and "run the same command again" in printed


def test_other_errors_keep_their_traceback():
    def failing(_):
        raise OSError(errno.EINVAL, "a bug")

    with pytest.raises(OSError, match="a bug"):
        run_main(failing)


@pytest.mark.parametrize(
    ("env", "output"), [({}, "exit handlers finalised "), ({"RANK": "0", "WORLD_SIZE": "1"}, "exit handlers ")]
)
def test_a_launched_process_does_not_finalise_the_interpreter(env, output):
    """Threads of its process group may still be running."""
    done = run([sys.executable, "-c", ENDING, "7"], env=env, fresh=True)
    assert (done.returncode, done.stderr) == (7, output)


LOSES = """
import os, signal, time, weakref
from lavis.common.cli import run_main

class Thing: pass

def callback(_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)  # the interrupt is raised in here, where Python cannot pass it on

def main(argv):
    thing = Thing()
    reference = weakref.ref(thing, callback)
    del thing
    time.sleep(15)
    return 0

run_main(main)
"""


def test_a_ctrl_c_that_python_loses_in_a_callback_ends_the_command_all_the_same():
    done = run([sys.executable, "-c", LOSES], fresh=True)
    assert done.returncode == 130 and "Traceback" not in done.stderr


SWALLOWS = """
import os, signal, time
from lavis.common.cli import run_main
from lavis.common.interrupts import while_importing

def main(argv):
    with while_importing():
        try:  # as libraries do while they are imported
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        except:
            pass
    time.sleep(15)
    return 0

run_main(main)
"""


def test_a_ctrl_c_while_modules_are_imported_is_not_swallowed():
    done = run([sys.executable, "-c", SWALLOWS], fresh=True)
    assert done.returncode == -signal.SIGINT and done.stderr == ""


def test_outside_commands_imports_leave_ctrl_c_alone():
    before = signal.getsignal(signal.SIGINT)
    with while_importing():
        assert signal.getsignal(signal.SIGINT) is before
