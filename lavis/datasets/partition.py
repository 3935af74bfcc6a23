"""Selects entries: those to forget and the rest, one per image, a sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lavis.common.errors import DataError, first_few
from lavis.common.names import Spellings
from lavis.datasets.annotations import Entry


@dataclass(frozen=True)
class Partition:
    """Training entries in two parts: `df` to forget (in the list's order), `dr` to retain."""

    df: list[Entry]
    dr: list[Entry]


def split_forget(
    entries: Sequence[Entry], forget_images: Sequence[str], source: str | Path, called: Callable[[str], str] = str
) -> tuple[list[Entry], list[Entry]]:
    """Split entries into (df, dr): those to forget, in the list's order, and the others in their own order.

    An entry goes to df if any of its images is in the list. Names in another spelling ("./a.jpg", another case) are
    found, too. In messages, `source` names the list and `called` an image. Raises DataError for listed images without
    an annotation (with their number and the first three), and if nothing is left to retain.
    """
    known = Spellings(image for entry in entries for image in entry.images)
    named = list(dict.fromkeys(known.find(image, called(image)) or image for image in forget_images))
    order = {image: place for place, image in enumerate(named)}
    groups: dict[str, list[Entry]] = {image: [] for image in named}
    retained, matched = [], set()
    for entry in entries:
        listed = sorted((image for image in entry.images if image in order), key=order.__getitem__)
        matched.update(listed)
        (groups[listed[0]] if listed else retained).append(entry)
    unmatched = [image for image in groups if image not in matched]
    if unmatched:
        raise DataError(
            f"{len(unmatched)} of {len(groups)} forget ids of {source} match no training annotation, "
            f"the first: {first_few([called(image) for image in unmatched[:3]])}; write them as in the annotations"
        )
    if not retained:
        raise DataError(f"the forget list {source} covers every training image and leaves nothing to retain")
    return [entry for members in groups.values() for entry in members], retained


def in_folder(image: str, names: Sequence[str]) -> bool:
    """Whether a folder on the image's path has exactly one of these names."""
    return any(part in names for part in PurePosixPath(image).parts[:-1])


def merged(entries: Sequence[Entry]) -> list[Entry]:
    """One entry per image, in order of first occurrence, with the captions of all its entries."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.image, []).append(entry)
    return [
        members[0]
        if len(members) == 1
        else dataclasses.replace(members[0], captions=tuple(text for entry in members for text in entry.captions))
        for members in groups.values()
    ]


def evenly(entries: list[Entry], most: int | None) -> list[Entry]:
    """At most `most` evenly spaced entries, in order; all if None."""
    if most is None or len(entries) <= most:
        return entries
    return [entries[i * len(entries) // most] for i in range(most)]
