"""Twins: images to forget that stay in the retain set under another name. The model would go on learning them.

Exact twins have the same bytes, or one file's name in two spellings. Near twins (re-encoded or resized copies) are
found by the original model's embeddings, before training (lavis/tasks/look_alikes.py).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lavis.common.errors import DataError
from lavis.common.files import write_json
from lavis.common.names import folded
from lavis.datasets.annotations import Entry
from lavis.datasets.mapped import ImageNames, images_of_rows, picked
from lavis.images.pieces import pieces
from lavis.images.store import ImageStore

log = logging.getLogger(__name__)
Twin = tuple[str, str]  # (image of Df, image of Dr)


def exact_twins(store: ImageStore, df: Sequence[Entry], dr: Sequence[Entry]) -> list[Twin]:
    """Every image of Dr that is an image of Df. Only files of equal length are read, first a part, then whole."""
    forget = dict.fromkeys(ImageNames(df))
    store.check(forget)
    store.check(ImageNames(dr))
    names = {folded(image): image for image in forget}
    respelled: dict[str, str] = {}
    copied: dict[str, str] = {}
    contents = _Contents(store, forget)
    for images in pieces(ImageNames(dr)):
        others = [image for image in images if image not in forget]
        respelled |= {image: names[key] for image in others if (key := folded(image)) in names}
        copied |= contents.copies([image for image in others if image not in respelled])
    return [(forgotten, image) for image, forgotten in [*respelled.items(), *copied.items()]]


class _Contents:
    """Compares images' bytes with those of the images to forget, each digest computed once."""

    def __init__(self, store: ImageStore, forget: Iterable[str]) -> None:
        self.store = store
        self._lengths: dict[int, list[str]] = {}
        for image in forget:
            self._lengths.setdefault(store.stamp(image)[0], []).append(image)
        self._parts: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}

    def copies(self, images: Sequence[str]) -> dict[str, str]:
        """{image: the first image to forget with the same bytes}."""
        found = {}
        for image, length in zip(images, self.store.lengths(images), strict=True):
            same = next((other for other in self._lengths.get(length, ()) if self.equal(other, image)), None)
            if same is not None:
                found[image] = same
        return found

    def equal(self, one: str, other: str) -> bool:
        return self._part(one) == self._part(other) and self._digest(one) == self._digest(other)

    def _part(self, image: str) -> bytes:
        if image not in self._parts:
            self._parts[image] = self.store.beginning(image)
        return self._parts[image]

    def _digest(self, image: str) -> str:
        if image not in self._digests:
            self._digests[image] = self.store.digest(image)
        return self._digests[image]


def settle(
    twins: Sequence[Twin], df: list[Entry], dr: Sequence[Entry], policy: str, path: Path
) -> tuple[list[Entry], Sequence[Entry]]:
    """Df and Dr after run.twins: `forget` moves twins to Df, `keep` leaves them, `stop` raises DataError.

    The twins are listed in the file `path`.
    """
    if not twins:
        return df, dr
    text = describe(twins, path)
    write_json(path, [{"forgotten": one, "retained": other} for one, other in twins])
    if policy == "stop":
        choices = "run.twins=forget to forget them, too, or run.twins=keep if they must stay"
        raise DataError(f"{text}. Set {choices}, or remove them from the data")
    if policy == "keep":
        log.warning("%s; run.twins=keep leaves them there", text)
        return df, dr
    log.warning("%s; run.twins=forget moves them to Df", text)
    moved = {image for _, image in twins}
    goes = np.array([not moved.isdisjoint(images) for images in images_of_rows(dr)])
    if goes.all():
        raise DataError("run.twins=forget moves every retained image to Df and leaves nothing to retain")
    return [*df, *picked(dr, np.flatnonzero(goes))], picked(dr, np.flatnonzero(~goes))


def describe(twins: Sequence[Twin], path: Path) -> str:
    """How many twins there are, and the file that lists them: a message names no image to forget."""
    return f"{len(twins)} retained images are copies of images to forget; they are listed in {path}"
