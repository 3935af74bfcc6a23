"""Errors that the user can fix. The entry scripts print them as one message, without a traceback."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lavis.common.printable import brief


class UserFault(Exception):  # noqa: N818 - a base class for `except`
    """Base class of errors whose message says what was wrong, where, and what to do; long values in it are cut."""

    def __str__(self) -> str:
        return brief(super().__str__())


class ConfigError(UserFault, ValueError):
    """A key, a value or a combination of settings is wrong."""


class DataError(UserFault, ValueError):
    """A data file exists but its content is unusable."""


class CheckpointError(UserFault, ValueError):
    """A checkpoint cannot be read safely, or does not fit the model."""


class TrainingError(UserFault, ValueError):
    """Training cannot continue, for example because the loss is not finite."""


class MissingFile(UserFault, FileNotFoundError):
    """A file or folder that the command needs does not exist."""


class SharedFault(UserFault, RuntimeError):
    """Another process of the run raised and reported a user error."""


def dead_worker(error: BaseException | None) -> str | None:
    """Torch's message about a loader process that died, if that caused `error`.

    Torch raises it wherever the main process is at that moment, perhaps while writing a file, and the write then raises
    another error.
    """
    while error is not None:
        if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
            return str(error).splitlines()[0]
        error = error.__cause__ or error.__context__
    return None


def suggest(bad: str, valid: Iterable[str]) -> str:
    """The closest valid name and all of them, for messages: "closest: 'x'; valid: a, b, c"."""
    names = sorted(map(str, valid))
    close = difflib.get_close_matches(str(bad), names, n=1, cutoff=0.4)
    lead = f"closest: '{close[0]}'; " if close else ""
    return f"{lead}valid: {', '.join(names) or '(none)'}"


def first_few(names: Sequence[str]) -> str:
    """The first three names, for messages."""
    return ", ".join(names[:3])


def one_line(error: BaseException, most: int = 300) -> str:
    """An error's message on one line, shortened; its kind where it has none."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def missing_file(what: str, path: object, hint: str = "") -> MissingFile:
    """The error for a file that does not exist: `what` it is, and in `hint` what to run."""
    return MissingFile(f"{what} {path} {_absence(Path(str(path)))}; {hint or 'check the path'}")


def _absence(path: Path) -> str:
    """How a file does not exist: it is a link to nowhere, lies below a file, or is not there."""
    if path.is_symlink():
        return f"is a link to {os.readlink(path)}, which does not exist"
    above = next((parent for parent in path.parents if parent.is_file()), None)
    return f"cannot exist: {above} is a file, not a folder" if above else "does not exist"
