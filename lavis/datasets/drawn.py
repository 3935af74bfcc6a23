"""Data sets that are drawn if they are missing: their builder, and the command that draws one."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from lavis.common.arguments import SEED
from lavis.common.cli import Parser, show
from lavis.datasets.builder import PairBuilder

Ensure = Callable[[Path, Path, str, int, bool], bool]  # (root, lists, size, seed, force) -> whether it was written


class DrawnBuilder(PairBuilder):
    """Draws its data set if it is missing: `command` by hand, `ensure` here. `size`: the hint's without `generate`."""

    command: ClassVar[str] = ""
    size: ClassVar[str] = "mini"

    def ensure(self, root: Path, lists: Path, size: str, seed: int) -> bool:
        """Write the data set to `root` and its forget lists to `lists` unless they exist."""
        raise NotImplementedError

    @property
    def hint(self) -> str:
        return (
            f"generate it: python -m {self.command} --size {self.config.generate or self.size} "
            f"--seed {self.config.generate_seed} --out {self.image_root.parent.as_posix()} "
            f"--df-out {self.forget_path.parent.as_posix()} --force"
        )

    def prepare(self) -> None:
        """Draw the data set if it is missing (unless `generate` is empty), then check. Raises as these two do."""
        if self.config.generate:
            places = self.image_root.parent, self.forget_path.parent
            self.ensure(*places, self.config.generate, self.config.generate_seed)
        super().prepare()


def parser(command: str, about: str, sizes: Sequence[str]) -> argparse.ArgumentParser:
    """The command line of `python -m <command>`."""
    result = Parser(prog=f"python -m {command}", description=about)
    result.add_argument("--size", choices=tuple(sizes), default="mini")
    result.add_argument("--out", type=Path, help="folder of the data set (default: data/lavis_cache/<name>_<size>)")
    result.add_argument("--df-out", type=Path, help="folder of the forget lists (default: data/Df/<name of --out>)")
    result.add_argument("--seed", type=SEED, default=42)
    result.add_argument("--force", action="store_true", help="replace an existing data set")
    return result


def draw(args: argparse.Namespace, name: str, ensure: Ensure) -> int:
    """Draw a data set from the command line. Returns the exit code. Raises as `ensure`."""
    root = args.out or Path("data/lavis_cache") / f"{name}_{args.size}"
    lists = args.df_out or Path("data/Df") / root.name
    written = ensure(root, lists, args.size, args.seed, args.force)
    show(f"{root} {'written' if written else 'already exists'}; forget lists in {lists}\n")
    return 0
