"""Errors of the disk end in one message and exit code 2."""

from __future__ import annotations

import errno
import os

import pytest

from lavis.common.cli import DISK_ERRORS, run_main


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
        raise OSError(errno.EINVAL, "a fault of the code")

    with pytest.raises(OSError, match="a fault of the code"):
        run_main(failing)
