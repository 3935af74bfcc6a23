"""A sweep that runs stubs of the entry scripts in its own folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

TINY = "configs/clip/retrieval_salmu_tiny.yaml"


class Bench:
    """A sweep file, an output folder, and stubs of the entry scripts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.output = folder, folder / "out"
        self.options = [f"run.output_dir={self.output}", "run.device=cpu"]
        self.sweep = self.write()

    def write(self, **more: Any) -> str:
        base = {"cfg_path": TINY, "methods": ["vlul", "delete"], "options": self.options, "gallery": 0}
        path = self.folder / "sweep.yaml"
        path.write_text(yaml.safe_dump(base | {"report_dir": str(self.folder / "report")} | more))
        return str(path)

    def rows(self) -> list[dict[str, Any]]:
        return json.loads((self.folder / "report" / "results.json").read_text())["rows"]

    def page(self) -> str:
        return (self.folder / "report" / "index.html").read_text()
