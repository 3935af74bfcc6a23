"""Logging: one logger, and JSON lines on disk."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any, TextIO

from lavis.common.files import plain
from lavis.common.printable import brief, printable

NAME = "lavis"


def get_logger() -> logging.Logger:
    return logging.getLogger(NAME)


def setup_logging(main: bool = True) -> None:
    """Log to standard error: everything on the main process, only warnings on the others."""
    logger = get_logger()
    logger.setLevel(logging.INFO if main else logging.WARNING)
    logger.propagate = False
    if not logger.handlers:
        handler = _Stderr()
        handler.setFormatter(_Printable("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)


class _Printable(logging.Formatter):
    """Escapes what file names and captions may contain to steer a terminal, and cuts what would flood it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return brief(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to the current `sys.stderr`, which may be replaced and closed between two runs."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def json_line(record: dict[str, Any]) -> str:
    """One line of strict JSON (non-finite numbers become strings)."""
    return printable(json.dumps(plain(record, str), ensure_ascii=False, allow_nan=False)) + "\n"


class RunLog:
    """`log.txt` of a run folder: one JSON object per line. Does nothing unless `active` (on the main process)."""

    def __init__(self, folder: Path, active: bool = True) -> None:
        self.path = folder / "log.txt"
        self.active = active

    def write(self, record: dict[str, Any]) -> None:
        if not self.active:
            return
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json_line(record))
