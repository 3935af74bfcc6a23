"""On systems without Unix's modules: every module imports, and a run with spawned loader workers finishes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT, environment
from tests.small import write_world


def test_a_run_on_a_system_that_is_not_unix(tmp_path: Path) -> None:
    """Locks, cached pixels, and the best checkpoint without links."""
    world = write_world(tmp_path, run_keys={"num_workers": 1, "max_epoch": 1})
    words = ["lavis.cli.main", "train", "--cfg-path", str(world.config)]
    command = [sys.executable, "-m", "tests.elsewhere", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]

    files = [path for path in (ROOT / "lavis").rglob("*.py") if "__pycache__" not in path.parts]
    assert f"{len(files)} modules imported\n" in done.stdout
    folder = world.output / "original" / "clip" / "salmu_retrieval"
    assert "df_txt_r1" in json.loads((folder / "results.json").read_text())["metrics"]
    assert not (folder / "checkpoint_best.pth").is_symlink()
