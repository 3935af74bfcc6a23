"""SALMU-mini: the embedded data set. Drawn portraits of fictitious personas in SALMU's layout, splits and side files.

    python -m lavis.datasets.salmu_mini --size mini
    python -m lavis.datasets.salmu_mini --size tiny --out FOLDER --df-out FOLDER --seed 42

`mini` is the demo, `tiny` serves tests. The builders generate what is missing, so no command is needed before a run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.common.registry import registry
from lavis.datasets.builder import PairBuilder


@registry.register_builder("salmu_mini")
class SalmuMiniBuilder(PairBuilder):
    """The demo size: 1,200 sensitive pairs of 60 identities, 2,800 retain pairs."""

    name: ClassVar[str] = "salmu_mini"
    size: ClassVar[str] = "mini"
    job_names: ClassVar[dict[str, str]] = {"salmu_mini_retrieval": "retrieval"}

    @property
    def hint(self) -> str:
        root = self.image_root.parent.as_posix()
        size, seed = self.config.generate or self.size, self.config.generate_seed
        return (
            f"generate it: python -m lavis.datasets.salmu_mini --size {size} --seed {seed} --out {root} "
            f"--df-out {self.forget_path.parent.as_posix()} --force"
        )

    def prepare(self) -> None:
        """Generate what is missing (unless `generate` is empty), then check. Raises as `ensure` and the builder do."""
        if self.config.generate:
            from lavis.synthetic.mini.layout import ensure

            ensure(self.image_root.parent, self.forget_path.parent, self.config.generate, self.config.generate_seed)
        super().prepare()


@registry.register_builder("salmu_tiny")
class SalmuTinyBuilder(SalmuMiniBuilder):
    """The test size: 120 sensitive pairs of 12 identities, 520 retain pairs."""

    name: ClassVar[str] = "salmu_tiny"
    size: ClassVar[str] = "tiny"
    job_names: ClassVar[dict[str, str]] = {"salmu_tiny_retrieval": "retrieval"}


def main(argv: Sequence[str]) -> int:
    """Generate a data set from the command line; exit code 0 done, 2 user error."""
    from lavis.synthetic.mini.layout import ensure
    from lavis.synthetic.mini.plan import SIZES

    parser = argparse.ArgumentParser(prog="python -m lavis.datasets.salmu_mini", description="Draw a SALMU-mini.")
    parser.add_argument("--size", choices=tuple(SIZES), default="mini")
    parser.add_argument("--out", type=Path, help="folder of the data set (default: data/lavis_cache/salmu_<size>)")
    parser.add_argument("--df-out", type=Path, help="folder of the forget lists (default: data/Df/<name of --out>)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--force", action="store_true", help="replace a data set that is already there")
    args = parser.parse_args(argv)
    root = args.out or Path("data/lavis_cache") / f"salmu_{args.size}"
    lists = args.df_out or Path("data/Df") / root.name
    try:
        written = ensure(root, lists, args.size, args.seed, args.force)
    except (ConfigError, DataError, MissingFile) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{root} {'written' if written else 'is already there'}; forget lists in {lists}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
