"""Twins: images to forget that stay in the retain set under another name. The model would go on learning them.

Exact twins have the same bytes, or one file's name in two spellings. Near twins (re-encoded or resized copies) are
found by the original model's embeddings, before training.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from lavis.common.errors import DataError
from lavis.common.files import dispensable, write_json
from lavis.common.names import folded
from lavis.datasets.annotations import Entry
from lavis.images.store import ImageStore

log = logging.getLogger(__name__)
ROWS_AT_ONCE = 4096
Twin = tuple[str, str]  # (image of Df, image of Dr)


def exact_twins(store: ImageStore, df: Sequence[Entry], dr: Sequence[Entry]) -> list[Twin]:
    """Every image of Dr that is an image of Df. Only files of equal length are read, first a part, then whole."""
    forget = dict.fromkeys(image for entry in df for image in entry.images)
    retain = [image for image in dict.fromkeys(i for e in dr for i in e.images) if image not in forget]
    store.check([*forget, *retain])
    names = {folded(image): image for image in forget}
    twins = [(names[key], image) for image in retain if (key := folded(image)) in names]
    lengths: dict[int, list[str]] = {}
    for image in forget:
        lengths.setdefault(store.stamp(image)[0], []).append(image)
    named = {image for _, image in twins}
    contents = _Contents(store)
    for image in retain:
        same_length = lengths.get(store.stamp(image)[0], []) if image not in named else []
        twins += [(other, image) for other in same_length if contents.equal(other, image)][:1]
    return twins


class _Contents:
    """Compares images' bytes, each digest computed once."""

    def __init__(self, store: ImageStore) -> None:
        self.store = store
        self._parts: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}

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


def near_twins(df: torch.Tensor, dr: torch.Tensor, least: float) -> list[tuple[int, int, float]]:
    """(row of Df, row of Dr, cosine) for each row of Dr whose closest row of Df (n, D) has at least this cosine.

    The rows are unit vectors; Dr is compared in blocks, so that memory stays bounded.
    """
    found = []
    for start in range(0, len(dr), ROWS_AT_ONCE):
        cosines, closest = (dr[start : start + ROWS_AT_ONCE] @ df.T).max(dim=1)
        for row in (cosines >= least).nonzero().flatten().tolist():
            found.append((int(closest[row]), start + row, float(cosines[row])))
    return sorted(found, key=lambda twin: -twin[2])


def report_near(
    df: Sequence[str], dr: Sequence[str], df_rows: torch.Tensor, dr_rows: torch.Tensor, least: float, path: Path
) -> list[str]:
    """List near twins in the file `path` and log how many there are. Returns that sentence; nothing if there are none.

    df, dr: the distinct images of both sets. df_rows, dr_rows: their unit embeddings (n, D). Nothing is moved: whether
    two images show the same is for the user to say, who can add them to what is to be forgotten.
    """
    twins = [(df[i], dr[j], cosine) for i, j, cosine in near_twins(df_rows, dr_rows, least)]
    if not twins:
        return []
    content = [{"forgotten": one, "retained": other, "cosine": round(cosine, 4)} for one, other, cosine in twins]
    with dispensable(path):
        write_json(path, content)
    text = (
        f"{len(twins)} retained images look like images to forget to the original model (cosine {least:g} to "
        f"{twins[0][2]:.3f}); they are listed in {path}. They stay in the retain set: look at them, "
        "and forget those that show the same as well"
    )
    log.warning("%s", text)
    return [text]


def settle(
    twins: Sequence[Twin], df: list[Entry], dr: list[Entry], policy: str, path: Path
) -> tuple[list[Entry], list[Entry]]:
    """Df and Dr after run.twins: `forget` moves twins to Df, `keep` leaves them, `stop` raises DataError.

    The twins are listed in the file `path`.
    """
    if not twins:
        return df, dr
    text = describe(twins, path)
    write_json(path, [{"forgotten": one, "retained": other} for one, other in twins])
    if policy == "stop":
        raise DataError(
            f"{text}. Set run.twins=forget to forget them, too, or run.twins=keep if they must stay, or remove them "
            "from the data"
        )
    if policy == "keep":
        log.warning("%s; run.twins=keep leaves them there", text)
        return df, dr
    log.warning("%s; run.twins=forget moves them to Df", text)
    moved = {image for _, image in twins}
    extra = [entry for entry in dr if moved.intersection(entry.images)]
    rest = [entry for entry in dr if not moved.intersection(entry.images)]
    if not rest:
        raise DataError("run.twins=forget moves every retained image to Df and leaves nothing to retain")
    return [*df, *extra], rest


def describe(twins: Sequence[Twin], path: Path) -> str:
    """How many twins there are, and the file that lists them: a message names no image to forget."""
    return f"{len(twins)} retained images are copies of images to forget; they are listed in {path}"
