"""Run a sweep of unlearning jobs and write its report: `python bash/run.py [configs/sweep/….yaml]`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def use_project_environment() -> None:
    """Restart with the interpreter of .venv if bash/setup.sh has made one and no other environment is active."""
    python = ROOT / ".venv" / "bin" / "python"
    inside = Path(sys.prefix).resolve() == python.parent.parent.resolve()
    if python.exists() and not inside and not os.environ.get("VIRTUAL_ENV") and not os.environ.get("CONDA_PREFIX"):
        os.execv(str(python), [str(python), str(Path(__file__).resolve()), *sys.argv[1:]])  # noqa: S606


def main(argv: Sequence[str] | None = None) -> int:
    from lavis.common.interrupts import while_importing

    with while_importing():
        from lavis.sweeps.cli import main as sweep

    return sweep(argv)


if __name__ == "__main__":
    use_project_environment()
    from lavis.common.cli import run_main

    run_main(main)
