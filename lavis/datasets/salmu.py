"""SALMU: portraits of fictitious people with captions that leak their personal data.

One folder contains images/<split>/<file>.jpg and annotations/<split>.json. `python -m lavis.datasets.salmu import
--parquet DIR --out FOLDER` writes it from the published parquet shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from lavis.common.cli import Parser, run_main
from lavis.common.registry import registry
from lavis.datasets.builder import PairBuilder


@registry.register_builder("salmu")
class SalmuBuilder(PairBuilder):
    """The real data. Splits: train, val, test, holdout_identity, holdout_association."""

    name: ClassVar[str] = "salmu"
    job_names: ClassVar[dict[str, str]] = {"salmu_retrieval": "retrieval"}

    @property
    def hint(self) -> str:
        out = self.image_root.parent.as_posix()
        return (
            "download SALMU's parquet shards (see data/README.md) and run: "
            f"python -m lavis.datasets.salmu import --parquet DIR --out {out}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Command line of this module. lavis.importing.salmu takes the arguments after `import`. Raises as it does."""
    parser = Parser(prog="python -m lavis.datasets.salmu", description="SALMU's files.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("import", add_help=False, help="convert parquet shards to images and annotations")
    _, rest = parser.parse_known_args(argv)
    from lavis.importing import salmu as salmu_import

    return salmu_import.main(rest) or 0


if __name__ == "__main__":
    run_main(main)
