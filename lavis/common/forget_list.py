"""Forget lists: text files that name the images to forget, one path per line, relative to the image root."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lavis.common.errors import ConfigError, DataError, first_few
from lavis.common.files import read_text, write_text
from lavis.common.seed import derived_seed

FORGET_SEEDS = (42, 87, 21)


def list_path(lists: Path, seed: int) -> Path:
    """The path of a seed's forget list."""
    return lists / f"image-{seed}.txt"


def read_forget_list(path: str | Path, df_size: int | None = None, hint: str = "") -> list[str]:
    """The first `df_size` images of the list, or all; `hint` says what to run if the list does not exist.

    Raises MissingFile; DataError (empty list, repeated line, not text); ConfigError (df_size larger than the list).
    """
    source = Path(path)
    if df_size is not None and df_size < 1:
        raise ConfigError(f"run.df_size must be at least 1, found {df_size}")
    lines = read_text(source, "forget list", hint).split("\n")
    images = [line.strip() for line in lines if line.strip()]
    if not images:
        raise DataError(f"forget list {source} is empty; write one image path per line")
    repeated = [image for image, times in Counter(images).items() if times > 1]
    if repeated:
        rows = [str(row) for row, image in enumerate(images, start=1) if image == repeated[0]]
        text = f"forget list {source} names {len(repeated)} images more than once"
        raise DataError(f"{text}, the first in rows {first_few(rows)}")
    return first_of_list(images, df_size, str(source))


def first_of_list(images: list[str], df_size: int | None, source: str) -> list[str]:
    """The first `df_size` images, or all of them if None. Raises ConfigError if there are fewer."""
    if df_size is not None and df_size > len(images):
        raise ConfigError(
            f"run.df_size is {df_size} but the forget list {source} has {len(images)} images; "
            f"choose {len(images)} or less, for example with --options run.df_size={len(images)}"
        )
    return images[:df_size]


def write_forget_list(path: str | Path, images: Iterable[str]) -> None:
    """Write one image path per line, atomically. Raises DataError for a repeated image or one with a line break."""
    lines = list(images)
    if len(set(lines)) != len(lines) or any(not line.strip() or len(line.splitlines()) != 1 for line in lines):
        raise DataError(f"forget list {path} not written: images must be distinct, one line each and not empty")
    write_text(Path(path), "".join(f"{line}\n" for line in lines))


def draw_pool(images: Iterable[str], size: int, seed: int) -> list[str]:
    """`size` distinct images in an order fixed by the set of images and the seed. Raises ConfigError if too few."""
    names = sorted(set(images))
    if not 1 <= size <= len(names):
        raise ConfigError(f"a forget list of {size} images cannot be drawn from {len(names)} training images")
    order = np.random.default_rng(derived_seed(seed, "forget list")).permutation(len(names))
    return [names[i] for i in order[:size]]


def shuffled_list(images: Sequence[str], seed: int) -> list[str]:
    """All images: for seed 42 (the published list) in their order, for other seeds in a seeded order."""
    order = range(len(images)) if seed == FORGET_SEEDS[0] else np.random.default_rng(seed).permutation(len(images))
    return [images[i] for i in order]
