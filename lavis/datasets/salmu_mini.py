"""SALMU-mini, the built-in data set: drawn portraits of fictitious people in SALMU's layout, splits and metadata.

    python -m lavis.datasets.salmu_mini --size mini
    python -m lavis.datasets.salmu_mini --size tiny --out FOLDER --df-out FOLDER --seed 42

`mini` is for the demo, `tiny` for tests; --variant draws a harder one (lavis/synthetic/mini/variants.py). A missing
data set is drawn by its builder, so no command is needed before a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from lavis.common.cli import run_main
from lavis.common.registry import registry
from lavis.datasets.drawn import DrawnBuilder, draw, parser
from lavis.synthetic.mini.layout import ensure
from lavis.synthetic.mini.variants import SIZES, VARIANTS

COMMAND = "lavis.datasets.salmu_mini"


@registry.register_builder("salmu_mini")
class SalmuMiniBuilder(DrawnBuilder):
    """The size for the demo: 1,200 sensitive pairs of 60 identities, 2,800 retain pairs."""

    name, command = "salmu_mini", COMMAND
    job_names: ClassVar[dict[str, str]] = {"salmu_mini_retrieval": "retrieval"}

    def ensure(self, root: Path, lists: Path, size: str, seed: int) -> bool:
        return ensure(root, lists, size, seed, variant=self.config.generate_variant)


@registry.register_builder("salmu_mini_shared_names")
class SharedNamesBuilder(SalmuMiniBuilder):
    """SALMU-mini in which first and last names recur among people who are retained and people who are forgotten."""

    name, command = "salmu_mini_shared_names", f"{COMMAND} --variant shared_names"
    job_names: ClassVar[dict[str, str]] = {"salmu_mini_shared_names_retrieval": "retrieval"}


@registry.register_builder("salmu_mini_paraphrased")
class ParaphrasedBuilder(SalmuMiniBuilder):
    """SALMU-mini with eight wordings of each fact, none of which its proxies share."""

    name, command = "salmu_mini_paraphrased", f"{COMMAND} --variant paraphrased"
    job_names: ClassVar[dict[str, str]] = {"salmu_mini_paraphrased_retrieval": "retrieval"}


@registry.register_builder("salmu_mini_web")
class WebBuilder(SalmuMiniBuilder):
    """SALMU-mini whose forget set is 0.5 % of the training pairs: 63 of 12,500."""

    name, command = "salmu_mini_web", f"{COMMAND} --variant web"
    job_names: ClassVar[dict[str, str]] = {"salmu_mini_web_retrieval": "retrieval"}


@registry.register_builder("salmu_tiny")
class SalmuTinyBuilder(SalmuMiniBuilder):
    """The size for tests: 120 sensitive pairs of 12 identities, 520 retain pairs."""

    name, size = "salmu_tiny", "tiny"
    job_names: ClassVar[dict[str, str]] = {"salmu_tiny_retrieval": "retrieval"}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw a data set from the command line. Returns the exit code. Raises as `ensure`."""
    command = parser(COMMAND, "Draw a SALMU-mini.", tuple(SIZES))
    command.add_argument("--variant", choices=tuple(VARIANTS), default="plain", help="what makes it harder")
    return draw(args := command.parse_args(argv), "salmu", partial(ensure, variant=args.variant))


if __name__ == "__main__":
    run_main(main)
