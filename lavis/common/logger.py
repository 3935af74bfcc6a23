"""Logging: one logger, JSON lines on disk, TensorBoard if asked for."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any, TextIO

from lavis.common.files import plain

NAME = "lavis"


def get_logger() -> logging.Logger:
    return logging.getLogger(NAME)


def setup_logging(main: bool = True) -> None:
    """Messages of the main process go to standard error; the others' only when they warn."""
    logger = get_logger()
    logger.setLevel(logging.INFO if main else logging.WARNING)
    logger.propagate = False
    if not logger.handlers:
        handler = _Stderr()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what `sys.stderr` is at that moment: between two runs it may be replaced and the earlier one closed."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def json_line(record: dict[str, Any]) -> str:
    """One line of strict JSON (non-finite numbers become strings)."""
    return json.dumps(plain(record, str), ensure_ascii=False, allow_nan=False) + "\n"


class RunLog:
    """`log.txt` of a run folder: one JSON object a line. Does nothing on processes other than the main one."""

    def __init__(self, folder: Path, active: bool = True, tensorboard: bool = False) -> None:
        self.path = folder / "log.txt"
        self.active = active
        self._board = self._open_board(folder) if active and tensorboard else None

    def _open_board(self, folder: Path) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder / "tensorboard"))

    def write(self, record: dict[str, Any], step: int | None = None) -> None:
        if not self.active:
            return
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json_line(record))
        if self._board is not None and step is not None:
            for name, value in record.items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
