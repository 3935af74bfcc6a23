"""Miniatures of COCO, Flickr30k, VQA, NLVR2 and SNLI-VE: drawn scenes in the formats of the real data sets.

    python -m lavis.datasets.scenes_mini --data vqa --size mini
    python -m lavis.datasets.scenes_mini --data nlvr --size tiny --out FOLDER --df-out FOLDER --seed 42

The builders generate what is missing, so no command is needed before a run. Without looking at the picture, answers
to VQA questions are right in 35.4 % (the mean over four kinds of question of 1/3, 1/4, 1/3 and 1/2), NLVR2 statements
in 50 %, SNLI-VE labels in 33.3 %; a random text is a picture's own in 1 of as many as there are pictures.
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
from lavis.datasets.nlvr import NlvrBuilder
from lavis.datasets.snli_ve import SnliVeBuilder
from lavis.datasets.vqa import VqaBuilder


class SceneBuilder(PairBuilder):
    """Draws what is missing. `kind` says which data set it stands for."""

    kind: ClassVar[str] = ""
    size: ClassVar[str] = "mini"

    @property
    def hint(self) -> str:
        root, size = self.image_root.parent.as_posix(), self.config.generate or self.size
        return (
            f"generate it: python -m lavis.datasets.scenes_mini --data {self.kind} --size {size} "
            f"--seed {self.config.generate_seed} --out {root} --df-out {self.forget_path.parent.as_posix()} --force"
        )

    def prepare(self) -> None:
        """Generate what is missing (unless `generate` is empty), then check. Raises as `ensure` and the builder do."""
        if self.config.generate:
            from lavis.synthetic.scenes.layout import ensure

            root, lists = self.image_root.parent, self.forget_path.parent
            ensure(self.kind, root, lists, self.config.generate, self.config.generate_seed)
        super().prepare()


@registry.register_builder("coco_mini")
class CocoMiniBuilder(SceneBuilder):
    """Scenes of two groups with three captions each."""

    name: ClassVar[str] = "coco_mini"
    kind: ClassVar[str] = "coco"
    job_names: ClassVar[dict[str, str]] = {"coco_mini_retrieval": "retrieval"}


@registry.register_builder("coco_tiny")
class CocoTinyBuilder(CocoMiniBuilder):
    """The test size."""

    name: ClassVar[str] = "coco_tiny"
    size: ClassVar[str] = "tiny"
    job_names: ClassVar[dict[str, str]] = {"coco_tiny_retrieval": "retrieval"}


@registry.register_builder("flickr30k_mini")
class Flickr30kMiniBuilder(SceneBuilder):
    """Scenes of two groups, a board over the third column, with three captions each."""

    name: ClassVar[str] = "flickr30k_mini"
    kind: ClassVar[str] = "flickr30k"
    job_names: ClassVar[dict[str, str]] = {"flickr30k_mini_retrieval": "retrieval"}


@registry.register_builder("flickr30k_tiny")
class Flickr30kTinyBuilder(Flickr30kMiniBuilder):
    """The test size."""

    name: ClassVar[str] = "flickr30k_tiny"
    size: ClassVar[str] = "tiny"
    job_names: ClassVar[dict[str, str]] = {"flickr30k_tiny_retrieval": "retrieval"}


@registry.register_builder("vqa_mini")
class VqaMiniBuilder(SceneBuilder, VqaBuilder):
    """Four questions about each picture of coco_mini."""

    name: ClassVar[str] = "vqa_mini"
    kind: ClassVar[str] = "vqa"
    job_names: ClassVar[dict[str, str]] = {"vqa_mini": "vqa"}


@registry.register_builder("vqa_tiny")
class VqaTinyBuilder(VqaMiniBuilder):
    """The test size."""

    name: ClassVar[str] = "vqa_tiny"
    size: ClassVar[str] = "tiny"
    job_names: ClassVar[dict[str, str]] = {"vqa_tiny": "vqa"}


@registry.register_builder("nlvr_mini")
class NlvrMiniBuilder(SceneBuilder, NlvrBuilder):
    """Pairs of pictures of one group, a true and a false statement about each pair."""

    name: ClassVar[str] = "nlvr_mini"
    kind: ClassVar[str] = "nlvr"
    job_names: ClassVar[dict[str, str]] = {"nlvr_mini": "nlvr"}


@registry.register_builder("nlvr_tiny")
class NlvrTinyBuilder(NlvrMiniBuilder):
    """The test size."""

    name: ClassVar[str] = "nlvr_tiny"
    size: ClassVar[str] = "tiny"
    job_names: ClassVar[dict[str, str]] = {"nlvr_tiny": "nlvr"}


@registry.register_builder("snli_ve_mini")
class SnliVeMiniBuilder(SceneBuilder, SnliVeBuilder):
    """Three hypotheses about each picture of flickr30k_mini, one for each label."""

    name: ClassVar[str] = "snli_ve_mini"
    kind: ClassVar[str] = "snli_ve"
    job_names: ClassVar[dict[str, str]] = {"ve_mini": "multimodal_classification"}


@registry.register_builder("snli_ve_tiny")
class SnliVeTinyBuilder(SnliVeMiniBuilder):
    """The test size."""

    name: ClassVar[str] = "snli_ve_tiny"
    size: ClassVar[str] = "tiny"
    job_names: ClassVar[dict[str, str]] = {"ve_tiny": "multimodal_classification"}


def main(argv: Sequence[str]) -> int:
    """Generate a miniature from the command line; exit code 0 done, 2 user error."""
    from lavis.synthetic.scenes.layout import ensure
    from lavis.synthetic.scenes.plan import MAKERS, SIZES

    parser = argparse.ArgumentParser(prog="python -m lavis.datasets.scenes_mini", description="Draw a miniature.")
    parser.add_argument("--data", choices=tuple(MAKERS), required=True, help="the data set that it stands for")
    parser.add_argument("--size", choices=tuple(SIZES), default="mini")
    parser.add_argument("--out", type=Path, help="folder of the data set (default: data/lavis_cache/<data>_<size>)")
    parser.add_argument("--df-out", type=Path, help="folder of the forget lists (default: data/Df/<name of --out>)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--force", action="store_true", help="replace a data set that is already there")
    args = parser.parse_args(argv)
    root = args.out or Path("data/lavis_cache") / f"{args.data}_{args.size}"
    lists = args.df_out or Path("data/Df") / root.name
    try:
        written = ensure(args.data, root, lists, args.size, args.seed, args.force)
    except (ConfigError, DataError, MissingFile) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{root} {'written' if written else 'is already there'}; forget lists in {lists}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
