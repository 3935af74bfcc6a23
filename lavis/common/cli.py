"""Arguments, error messages and exit codes of the entry scripts."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from lavis.common.arguments import COUNT, SHARE
from lavis.common.errors import DISK_ERRORS, ConfigError, SharedFault, UserFault, dead_worker
from lavis.common.files import encodable, odd_character
from lavis.common.home import at_home
from lavis.common.interrupts import in_command
from lavis.common.printable import brief, printable

USER_ERROR = 2


class Parser(argparse.ArgumentParser):
    """The parser of every command: it refuses words that are not UTF-8, and cuts long values in its messages."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does. Raises ConfigError for a word that no file of ours could quote."""
        words = sys.argv[1:] if args is None else list(args)
        _refuse_other_encodings(words)
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        super().error(printable(brief(message)))


def _refuse_other_encodings(words: Sequence[str]) -> None:
    """Raise ConfigError for a word that is not UTF-8: no YAML, JSON or message could name such a file."""
    flag = "the command line"
    for word in words:
        name, sign, _ = word.partition("=")
        flag = name if word.startswith("--") and (sign or encodable(word)) else flag
        if not encodable(word):
            raise ConfigError(f"{flag}: '{word}' is not UTF-8 ({odd_character(word)}); choose another name")


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with `--cfg-path` and `--options`, which all entry scripts have."""
    result = Parser(description=description, allow_abbrev=False)
    result.add_argument("--cfg-path", required=True, help="YAML with the sections model, datasets and run")
    overrides = "overrides, e.g. run.max_epoch=1 run.device=cpu"
    result.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help=overrides)
    return result


def unlearn_parser() -> argparse.ArgumentParser:
    """The parser of unlearn.py."""
    result = parser("Unlearn the forget set from an original model.")
    result.add_argument("--unlearn_method", required=True, help="registered trainer: vlul, erase, delete, …")
    result.add_argument("--backbone", required=True, help="family of the model: clip, albef, blip")
    result.add_argument("--task", required=True, help="task of the configuration: salmu_retrieval, …")
    result.add_argument("--df_size", type=COUNT, help="how many images of the forget list are forgotten (default: all)")
    result.add_argument("--alpha", type=SHARE, help="mixing factor of methods that have one (default: 0.5)")
    return result


def show(text: str) -> None:
    """Write a result to standard output, on the main process only."""
    if os.environ.get("RANK", "0") == "0":
        sys.stdout.write(printable(text))


def run_main(main: Callable[[Sequence[str] | None], int | None]) -> None:
    """Run a main function. A user error ends in one message and exit code 2; LAVIS_DEBUG=1 shows the traceback."""
    sys.argv[1:] = map(at_home, sys.argv[1:])
    try:
        with in_command():
            code = main(None)
    except KeyboardInterrupt:
        code = 130
    except SystemExit as end:  # a run that a signal stopped, or a wrong flag
        if not isinstance(end.code, int):
            raise
        code = end.code
    except Exception as error:
        message = message_of(error)
        if message is None or os.environ.get("LAVIS_DEBUG") == "1":
            raise
        if not isinstance(error, SharedFault):
            sys.stderr.write(f"error: {printable(brief(message))}\n")
        code = USER_ERROR
    sys.stdout.flush()
    sys.stderr.flush()
    if "torch" in sys.modules:  # else there is no process group, and importing torch would take seconds
        from lavis.common.distributed import leave

        leave(code or 0)
    raise SystemExit(code or 0)


def message_of(error: Exception) -> str | None:
    """The message for an error that is not a bug; None for others."""
    lost = dead_worker(error)
    if lost is not None:
        return (
            f"a process that reads images died ({lost}), most likely because memory ran out. The same command "
            "continues from the newest checkpoint; a smaller run.num_workers needs less memory"
        )
    if isinstance(error, OSError) and not isinstance(error, UserFault) and error.errno in DISK_ERRORS:
        return f"{error}; {DISK_ERRORS[error.errno]}, then run the same command again"
    return str(error) if isinstance(error, UserFault) else None
