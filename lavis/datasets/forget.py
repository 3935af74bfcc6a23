"""Forget lists: which images a run forgets. One image path a line, relative to the image root.

    python -m lavis.datasets.forget --dataset coco

draws the lists of a real data set (lavis.datasets.forget_lists).
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.common.seed import derived_seed
from lavis.datasets.annotations import Entry


def read_forget_list(path: str | Path, df_size: int | None = None, hint: str = "") -> list[str]:
    """The first `df_size` images of the list (all of them if None).

    Args:
        hint: what to run when the list does not exist; ends the message.

    Raises MissingFile; DataError (empty list, a line twice, not text); ConfigError (df_size larger than the list).
    """
    source = Path(path)
    if df_size is not None and df_size < 1:
        raise ConfigError(f"run.df_size must be at least 1, found {df_size}")
    images = _lines(source, hint)
    if not images:
        raise DataError(f"forget list {source} is empty; expected one image path a line")
    repeated = [image for image, times in Counter(images).items() if times > 1]
    if repeated:
        text = f"forget list {source} names {len(repeated)} images more than once"
        raise DataError(f"{text}, the first: {_first(repeated)}")
    if df_size is not None and df_size > len(images):
        raise ConfigError(
            f"run.df_size is {df_size} but the forget list {source} holds {len(images)} images; "
            f"use --df_size {len(images)} or less"
        )
    return images[:df_size]


def split_forget(
    entries: Sequence[Entry], forget_images: Sequence[str], source: str | Path
) -> tuple[list[Entry], list[Entry]]:
    """Entries to (df, dr): those to be forgotten, in the list's order, and the others in their own.

    Every entry of a forgotten image goes to df, an entry of two images when either is forgotten. Raises DataError
    for ids that match no annotation (how many, the first three) and when nothing is left to retain.
    """
    order = {image: place for place, image in enumerate(forget_images)}
    groups: dict[str, list[Entry]] = {image: [] for image in forget_images}
    retained, met = [], set()
    for entry in entries:
        listed = sorted((image for image in entry.images if image in order), key=order.__getitem__)
        met.update(listed)
        (groups[listed[0]] if listed else retained).append(entry)
    unmatched = [image for image in groups if image not in met]
    if unmatched:
        raise DataError(
            f"{len(unmatched)} of {len(groups)} forget ids of {source} match no training annotation, "
            f"the first: {_first(unmatched)}; list and annotations must name images alike"
        )
    if not retained:
        raise DataError(f"the forget list {source} covers every training image: nothing is left to retain")
    return [entry for members in groups.values() for entry in members], retained


def draw_pool(images: Iterable[str], size: int, seed: int) -> list[str]:
    """`size` of the distinct images in random order; the draw depends on the set of images and the seed alone.

    Raises ConfigError when there are fewer images.
    """
    names = sorted(set(images))
    if not 1 <= size <= len(names):
        raise ConfigError(f"a forget list of {size} images cannot be drawn from {len(names)} training images")
    order = np.random.default_rng(derived_seed(seed, "forget list")).permutation(len(names))
    return [names[i] for i in order[:size]]


def write_forget_list(path: str | Path, images: Iterable[str]) -> None:
    """Write one image path a line, atomically. Raises DataError for a repeated image or one with a line break."""
    target = Path(path)
    lines = list(images)
    if len(set(lines)) != len(lines) or any(not line.strip() or len(line.splitlines()) != 1 for line in lines):
        raise DataError(f"forget list {target} not written: images must be distinct, one line each and not empty")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".tmp")
    partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.replace(partial, target)


def _lines(path: Path, hint: str) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFile(f"forget list {path} does not exist" + (f"; {hint}" if hint else "")) from error
    except UnicodeDecodeError as error:
        raise DataError(f"forget list {path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise DataError(f"forget list {path} cannot be read: {error.strerror or error}") from error
    return [line.strip() for line in text.split("\n") if line.strip()]


def _first(images: Sequence[str]) -> str:
    return ", ".join(images[:3])


def main(argv: Sequence[str]) -> int:
    """Draw the lists of a real data set; exit code 0 done, 2 user error."""
    from lavis.datasets import forget_lists

    return forget_lists.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
