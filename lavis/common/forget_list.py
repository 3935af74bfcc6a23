"""Forget lists: text files that name the images to forget, one path per line, relative to the image root."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lavis.common.errors import ConfigError, DataError, first_few, missing_file
from lavis.common.files import write_text
from lavis.common.seed import derived_seed

FORGET_SEEDS = (42, 87, 21)


def list_path(lists: Path, seed: int) -> Path:
    """Where the forget list of a seed lies."""
    return lists / f"image-{seed}.txt"


def read_forget_list(path: str | Path, df_size: int | None = None, hint: str = "") -> list[str]:
    """The first `df_size` images of the list, or all of them if None.

    Args:
        hint: what to run when the list does not exist; ends the message.

    Raises MissingFile; DataError (empty list, a line twice, not text); ConfigError (df_size larger than the list).
    """
    source = Path(path)
    if df_size is not None and df_size < 1:
        raise ConfigError(f"run.df_size must be at least 1, found {df_size}")
    images = _lines(source, hint)
    if not images:
        raise DataError(f"forget list {source} is empty; expected one image path per line")
    repeated = [image for image, times in Counter(images).items() if times > 1]
    if repeated:
        text = f"forget list {source} names {len(repeated)} images more than once"
        raise DataError(f"{text}, the first: {first_few(repeated)}")
    if df_size is not None and df_size > len(images):
        raise ConfigError(
            f"run.df_size is {df_size} but the forget list {source} holds {len(images)} images; "
            f"use --df_size {len(images)} or less"
        )
    return images[:df_size]


def write_forget_list(path: str | Path, images: Iterable[str]) -> None:
    """Write one image path per line, atomically. Raises DataError for a repeated image or one with a line break."""
    lines = list(images)
    if len(set(lines)) != len(lines) or any(not line.strip() or len(line.splitlines()) != 1 for line in lines):
        raise DataError(f"forget list {path} not written: images must be distinct, one line each and not empty")
    write_text(Path(path), "".join(f"{line}\n" for line in lines))


def draw_pool(images: Iterable[str], size: int, seed: int) -> list[str]:
    """`size` of the distinct images in random order; depends on the set of images and the seed alone.

    Raises ConfigError when there are fewer images.
    """
    names = sorted(set(images))
    if not 1 <= size <= len(names):
        raise ConfigError(f"a forget list of {size} images cannot be drawn from {len(names)} training images")
    order = np.random.default_rng(derived_seed(seed, "forget list")).permutation(len(names))
    return [names[i] for i in order[:size]]


def shuffled_list(images: Sequence[str], seed: int) -> list[str]:
    """All images: in the given order for seed 42 (the published list), in a seeded order for others."""
    order = range(len(images)) if seed == FORGET_SEEDS[0] else np.random.default_rng(seed).permutation(len(images))
    return [images[i] for i in order]


def _lines(path: Path, hint: str) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing_file("forget list", path, hint) from error
    except UnicodeDecodeError as error:
        raise DataError(f"forget list {path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise DataError(f"forget list {path} cannot be read: {error.strerror or error}") from error
    return [line.strip() for line in text.split("\n") if line.strip()]
