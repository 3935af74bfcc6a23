"""SALMU-mini, the built-in data set: drawn portraits of fictitious people in SALMU's layout, splits and metadata.

    python -m lavis.datasets.salmu_mini --size mini
    python -m lavis.datasets.salmu_mini --size tiny --out FOLDER --df-out FOLDER --seed 42

`mini` is for the demo, `tiny` for tests. The builders draw a missing data set, so no command is needed before a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from lavis.common.cli import run_main
from lavis.common.registry import registry
from lavis.datasets.drawn import DrawnBuilder, draw, parser

COMMAND = "lavis.datasets.salmu_mini"


@registry.register_builder("salmu_mini")
class SalmuMiniBuilder(DrawnBuilder):
    """The size for the demo: 1,200 sensitive pairs of 60 identities, 2,800 retain pairs."""

    name: ClassVar[str] = "salmu_mini"
    command = COMMAND
    job_names: ClassVar[dict[str, str]] = {"salmu_mini_retrieval": "retrieval"}

    def ensure(self, root: Path, lists: Path, size: str, seed: int) -> bool:
        from lavis.synthetic.mini.layout import ensure

        return ensure(root, lists, size, seed)


@registry.register_builder("salmu_tiny")
class SalmuTinyBuilder(SalmuMiniBuilder):
    """The size for tests: 120 sensitive pairs of 12 identities, 520 retain pairs."""

    name: ClassVar[str] = "salmu_tiny"
    size: ClassVar[str] = "tiny"
    job_names: ClassVar[dict[str, str]] = {"salmu_tiny_retrieval": "retrieval"}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a data set from the command line. Returns the exit code. Raises as `ensure`."""
    from lavis.synthetic.mini.layout import ensure
    from lavis.synthetic.mini.plan import SIZES

    return draw(parser(COMMAND, "Draw a SALMU-mini.", tuple(SIZES)).parse_args(argv), "salmu", ensure)


if __name__ == "__main__":
    run_main(main)
