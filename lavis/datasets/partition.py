"""Selects entries: those to forget and the rest, one per image, a sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lavis.common.errors import DataError, first_few
from lavis.common.names import Spellings
from lavis.datasets.annotations import Entry
from lavis.datasets.mapped import ImageNames, MappedEntries, images_of_rows, picked


@dataclass(frozen=True)
class Partition:
    """Training entries in two parts: `df` to forget (in the list's order), `dr` to retain."""

    df: list[Entry]
    dr: Sequence[Entry]


def split_forget(
    entries: Sequence[Entry], forget_images: Sequence[str], source: str | Path, called: Callable[[str], str] = str
) -> tuple[list[Entry], Sequence[Entry]]:
    """Split entries into (df, dr): those to forget, in the list's order, and the others in their own order.

    An entry goes to df if any of its images is in the list. Names in another spelling ("./a.jpg", another case) are
    found, too. In messages, `source` names the list and `called` an image. Raises DataError for listed images without
    an annotation (with their number and the first three), and if nothing is left to retain.
    """
    named = list(dict.fromkeys(_as_annotated(forget_images, entries, called)))
    order = {image: place for place, image in enumerate(named)}
    groups: dict[str, list[Entry]] = {image: [] for image in named}
    retained, matched = np.ones(len(entries), dtype=bool), set()
    for row, images in enumerate(images_of_rows(entries)):
        listed = [image for image in images if image in order]
        if listed:
            matched.update(listed)
            groups[min(listed, key=order.__getitem__)].append(entries[row])
            retained[row] = False
    unmatched = [image for image in groups if image not in matched]
    if unmatched:
        raise DataError(
            f"{len(unmatched)} of {len(groups)} forget ids of {source} match no training annotation, "
            f"the first: {first_few([called(image) for image in unmatched[:3]])}; write them as in the annotations"
        )
    if not retained.any():
        raise DataError(f"the forget list {source} covers every training image and leaves nothing to retain")
    return [entry for members in groups.values() for entry in members], picked(entries, np.flatnonzero(retained))


def _as_annotated(names: Sequence[str], entries: Sequence[Entry], called: Callable[[str], str]) -> list[str]:
    """The names as the annotations spell them; those of no annotated image as they are."""
    images = ImageNames(entries)
    exact = set(names).intersection(images)
    if len(exact) == len(set(names)):
        return list(names)
    known = Spellings(images)
    return [known.find(image, called(image)) or image for image in names]


def in_folder(image: str, names: Sequence[str]) -> bool:
    """Whether a folder on the image's path has exactly one of these names."""
    return any(part in names for part in image.split("/")[:-1])


def merged(entries: Sequence[Entry]) -> Sequence[Entry]:
    """One entry per image, in order of first occurrence, with the captions of all its entries."""
    if isinstance(entries, MappedEntries) and entries.image_numbers().max(initial=0) + 1 == len(entries):
        return entries
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.image, []).append(entry)
    return [
        members[0]
        if len(members) == 1
        else dataclasses.replace(members[0], captions=tuple(text for entry in members for text in entry.captions))
        for members in groups.values()
    ]


def evenly(entries: Sequence[Entry], most: int | None) -> list[Entry]:
    """At most `most` evenly spaced entries, in order; all if None."""
    if most is None or len(entries) <= most:
        return list(entries)
    return [entries[i * len(entries) // most] for i in range(most)]
