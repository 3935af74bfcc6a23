"""Draws the forget lists of COCO, Flickr30k, VQA, NLVR2 and SNLI-VE: `python -m lavis.datasets.forget --dataset coco`.

A list is a random order of the training images by its seed, cut at --size. SNLI-VE's list is Flickr30k's list of the
same seed without images that SNLI-VE does not have.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lavis.common.cli import Parser, run_main, show
from lavis.common.errors import DataError
from lavis.common.forget_list import FORGET_SEEDS, draw_pool, list_path, read_forget_list, write_forget_list
from lavis.common.registry import registry
from lavis.datasets.builder import PairBuilder
from lavis.settings.config import compose_dataset
from lavis.settings.schema import RunConfig

BUILDERS = {
    "coco": "coco_retrieval",
    "flickr30k": "flickr30k",
    "vqa": "coco_vqa",
    "nlvr": "nlvr",
    "snli_ve": "snli_ve",
}
REUSED = {"snli_ve": "flickr30k"}
POOL = 10_000


def write_lists(dataset: str, annotations: Sequence[str], lists: Path, seeds: Sequence[int], size: int) -> list[str]:
    """Write the list of every seed to lists/<dataset>/image-<seed>.txt. Returns one line of text about each.

    Args:
        dataset: a key of BUILDERS. annotations: training files (empty: the package's defaults).
        lists: folder of the lists of all data sets, including those that are reused (REUSED).

    Raises ConfigError (more images than there are), MissingFile, DataError.
    """
    images = training_images(dataset, annotations)
    lines = []
    for seed in seeds:
        if dataset in REUSED:
            command = f"draw it first: python -m lavis.datasets.forget --dataset {REUSED[dataset]}"
            source = list_path(lists / REUSED[dataset], seed)
            drawn = [image for image in read_forget_list(source, hint=command) if image in images]
            if not drawn:
                raise DataError(f"no image of {source} occurs in the training annotations of {dataset}")
        else:
            drawn = draw_pool(images, size, seed)
        target = list_path(lists / dataset, seed)
        write_forget_list(target, drawn)
        lines.append(f"{target}: {len(drawn)} of {len(images)} training images")
    return lines


def training_images(dataset: str, annotations: Sequence[str]) -> set[str]:
    """All images in the training annotations of a data set."""
    name = BUILDERS[dataset]
    layer: dict[str, Any] = {"build_info": {"annotations": {"train": {"storage": list(annotations)}}}}
    config = compose_dataset(name, [("--annotations", layer)] if annotations else [])
    builder: PairBuilder = registry.get_builder_class(name)(config, RunConfig())
    return {image for entry in builder.train_entries() for image in entry.images}


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m lavis.datasets.forget`."""
    command = Parser(prog="python -m lavis.datasets.forget", description=(__doc__ or "").split("\n")[0])
    command.add_argument("--dataset", choices=tuple(BUILDERS), required=True)
    command.add_argument("--annotations", nargs="+", default=[], help="training files (default: LAVIS's layout)")
    command.add_argument("--out", type=Path, default=Path("data/Df"), help="folder of all lists")
    command.add_argument("--seeds", type=int, nargs="+", default=list(FORGET_SEEDS))
    command.add_argument("--size", type=int, default=POOL, help="images per list (not for SNLI-VE)")
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the lists from the command line. Returns the exit code. Raises as `write_lists`."""
    args = parser().parse_args(argv)
    show("".join(f"{line}\n" for line in write_lists(args.dataset, args.annotations, args.out, args.seeds, args.size)))
    return 0


if __name__ == "__main__":
    run_main(main)
