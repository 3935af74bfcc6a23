"""Training entries in two parts: what a run forgets, and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lavis.common.errors import DataError
from lavis.common.forget_list import first_few
from lavis.datasets.annotations import Entry


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
            f"the first: {first_few(unmatched)}; list and annotations must name images alike"
        )
    if not retained:
        raise DataError(f"the forget list {source} covers every training image: nothing is left to retain")
    return [entry for members in groups.values() for entry in members], retained
