"""Data sets whose rows have more than an image and a caption: answers, labels, a second image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from lavis.common.errors import DataError
from lavis.datasets.annotations import Entry
from lavis.datasets.formats import mirrored
from lavis.datasets.pairs import PairDataset


class QuestionDataset(PairDataset):
    """Questions about images. Batches add "answers" (B lists of strings) and "answer_weights" (B lists of floats)."""

    def targets(self, rows: list[int]) -> dict[str, Any]:
        facts = [self.entries[i].extra for i in rows]
        return {
            "answers": [list(fact["answers"]) for fact in facts],
            "answer_weights": [list(fact["answer_weights"]) for fact in facts],
        }


class LabelledDataset(PairDataset):
    """Texts about one or two images, each with a class. Batches add "labels", int64 (B,)."""

    def targets(self, rows: list[int]) -> dict[str, Any]:
        return {"labels": torch.tensor([self.entries[i].extra["label"] for i in rows], dtype=torch.int64)}


class MirroredDataset(LabelledDataset):
    """Statements about two images. The images of a row are swapped in half of the epochs, depending on the seed.

    The statement with left and right swapped is the row's second caption, and the caption draw decides about both, so
    that every text has a fixed position in `captions`.
    """

    def __init__(self, entries: Sequence[Entry], *args: Any, **options: Any) -> None:
        super().__init__([_both_ways(entry) for entry in entries], *args, **options)

    @property
    def views(self) -> None:
        """None: the order of the images differs between epochs."""

    def names(self, index: int, epoch: int) -> tuple[str, ...]:
        names = self.entries[index].images
        return names if self.caption_id(index, epoch) == self.caption_ids(index)[0] else names[::-1]


def _both_ways(entry: Entry) -> Entry:
    if entry.second is None or len(entry.captions) != 1:
        raise DataError(f"image '{entry.image}': expected one statement about two images")
    return dataclasses.replace(entry, captions=(entry.captions[0], mirrored(entry.captions[0])))
