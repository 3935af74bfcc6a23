"""Splits training entries into those to forget and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lavis.common.errors import DataError, first_few
from lavis.datasets.annotations import Entry


def split_forget(
    entries: Sequence[Entry], forget_images: Sequence[str], source: str | Path
) -> tuple[list[Entry], list[Entry]]:
    """Split entries into (df, dr): those to forget, in the list's order, and the others in their own order.

    An entry goes to df if any of its images is in the list. Raises DataError for listed images without an annotation
    (with their number and the first three), and if nothing is left to retain. `source` names the list in messages.
    """
    order = {image: place for place, image in enumerate(forget_images)}
    groups: dict[str, list[Entry]] = {image: [] for image in forget_images}
    retained, matched = [], set()
    for entry in entries:
        listed = sorted((image for image in entry.images if image in order), key=order.__getitem__)
        matched.update(listed)
        (groups[listed[0]] if listed else retained).append(entry)
    unmatched = [image for image in groups if image not in matched]
    if unmatched:
        raise DataError(
            f"{len(unmatched)} of {len(groups)} forget ids of {source} match no training annotation, "
            f"the first: {first_few(unmatched)}; write them as in the annotations"
        )
    if not retained:
        raise DataError(f"the forget list {source} covers every training image and leaves nothing to retain")
    return [entry for members in groups.values() for entry in members], retained
