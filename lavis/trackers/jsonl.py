"""JSON lines: `values.jsonl` with the configuration, one line per logged step, and the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavis.common.files import json_lines, write_text
from lavis.common.logger import json_line
from lavis.common.registry import registry
from lavis.trackers.base import TrackedRun, Tracker

FILE = "values.jsonl"


@registry.register_tracker("jsonl")
class JsonLines(Tracker):
    """A file with one JSON object per line; no package is needed."""

    @property
    def path(self) -> Path:
        return self.folder / FILE

    def start(self, run: TrackedRun) -> None:
        """Begin the file. A resumed run keeps the steps that it has done, so that none is in the file twice."""
        known = list(json_lines(self.path, "tracker's file", bad=[])) if self.path.is_file() else []
        done = [line for _, line in known if _step(line) is not None and _step(line) <= run.done]
        write_text(self.path, "".join(map(json_line, [{"name": run.name, "config": run.config}, *done])))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._append({"step": step, **values})

    def finish(self, metrics: Mapping[str, float], complete: bool) -> None:
        self._append({"complete": complete, "metrics": metrics})

    def _append(self, record: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json_line(dict(record)))


def _step(line: Any) -> Any:
    return line.get("step") if isinstance(line, dict) else None
