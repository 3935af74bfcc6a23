"""The benchmark's data: splits from a builder and its metadata files, with their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from lavis.common.errors import DataError
from lavis.common.files import read_json
from lavis.datasets.annotations import Entry
from lavis.datasets.builder import HOLDOUTS, PairBuilder
from lavis.datasets.partition import evenly
from lavis.evaluation.context import Context, PairContext
from lavis.evaluation.metric import NotMeasured
from lavis.importing.salmu_metadata import FRAGILE, IDENTITIES, read_fragile, read_identities
from lavis.salmubench.splits import derive_splits, whole_and_partial

UNSEEN = "unseen_personas.json"
CLASSES = "zero_shot_classes.json"
WITH_IMAGES = ("forget", *HOLDOUTS, "retain_joint", "fragile_set")


@dataclass(frozen=True)
class Part:
    """The pairs of a split: image (n, D), text (n, D), and n captions and entries."""

    image: torch.Tensor
    text: torch.Tensor
    captions: list[str]
    entries: list[Entry]

    def only(self, rows: list[int]) -> Part:
        """These rows alone, in ascending order."""
        if len(rows) == len(self.entries):
            return self
        captions, entries = [self.captions[i] for i in rows], [self.entries[i] for i in rows]
        return Part(self.image[rows], self.text[rows], captions, entries)


class BenchmarkData:
    """The benchmark for one model: its splits and texts, each image and text embedded once.

    Metrics get it by `context.shared(BenchmarkData)`. Raises DataError if the data set has no folder named forget (it
    does not have SALMU's layout), or if a metadata file is malformed or belongs to another data set.
    """

    def __init__(self, context: Context) -> None:
        assert isinstance(context, PairContext)
        self.context, self.builder, self.run, self.bank = context, context.builder, context.run, context.bank
        self.choices = self.run.salmubench
        self.metadata = self.builder.metadata_root
        self.splits = _splits(self.builder, self.metadata)
        self.people = read_identities(self.metadata) if self.has(IDENTITIES) else {}
        self.df = self.builder.partition().df if self.builder.forgets else self.splits["forget"]
        self.whole, self.partial = self._whole_and_partial()
        self.texts = self.bank.texts
        self._parts: dict[str, Part] = {}

    def _whole_and_partial(self) -> tuple[set[str], set[str]]:
        """Images in Df of whole and of partial identities; none if holdout splits may not be read."""
        if not self.run.read_holdouts:
            return set(), set()
        sensitive = [*self.splits["forget"], *self.splits["holdout_association"]]
        whole, partial = ({self.df[row].image for row in rows} for rows in whole_and_partial(self.df, sensitive))
        return whole, partial

    def has(self, name: str) -> bool:
        """True if the data set has this metadata file."""
        return (self.metadata / name).is_file()

    def json(self, name: str) -> Any:
        """The content of a metadata file."""
        return read_json(self.metadata / name, "metadata file", self.builder.hint)

    def images(self) -> list[list[Entry]]:
        """The entries whose images the metrics need, to be embedded in one pass."""
        return [self._cut(self.splits[split]) for split in WITH_IMAGES] + [self._cut(self.labelled()[0])]

    def labelled(self) -> tuple[list[Entry], dict[str, Any]]:
        """Images with a class for zero-shot classification, and their metadata file; both empty without the file."""
        if not self.has(CLASSES):
            return [], {}
        known = self.json(CLASSES)
        return [e for e in self.builder.entries(known["split"]) if e.image in known["images"]], known

    def part(self, split: str, entries: Sequence[Entry] | None = None) -> Part:
        """The pairs of a split (or of other entries), at most run.eval_max_pairs. Raises NotMeasured if empty."""
        if split not in self._parts:
            rows = self._cut(self.splits[split] if entries is None else entries)
            if not rows:
                raise NotMeasured(f"split '{split}' is missing or empty")
            features, dataset = self.bank.split(split, rows), self.bank.dataset(rows)
            owners = features.txt2img
            own = [dataset.entries[i] for i in owners.tolist()]
            single = len(owners) == len(features.image)  # one caption per image: its row is needed once
            image = features.image if single else features.image[owners]
            self._parts[split] = Part(image, features.text, list(dataset.captions), own)
        return self._parts[split]

    def captions(self, split: str) -> tuple[list[str], list[Entry]]:
        """The processed captions of a whole split, and the entry of each."""
        if not self.splits[split]:
            return [], []
        dataset = self.bank.dataset(self.splits[split])
        return list(dataset.captions), [entry for entry in dataset.entries for _ in entry.captions]

    def _cut(self, entries: Sequence[Entry]) -> list[Entry]:
        return evenly(list(entries), self.run.eval_max_pairs)


def _splits(builder: PairBuilder, metadata: Path) -> dict[str, list[Entry]]:
    """The four splits and the derived ones by name, empty if the data set lacks them."""
    names = [split for split in builder.splits if split not in HOLDOUTS]
    rows = {entry.image: entry for split in names for entry in builder.entries(split)}
    tops = {image: PurePosixPath(image).parts[0] for image in rows}
    forget, retain = ([rows[i] for i in rows if tops[i] == folder] for folder in ("forget", "retain_synth"))
    if not forget:
        raise DataError(
            f"datasets.{builder.name}: no image is in a folder 'forget', which run.metrics=[salmubench] needs; "
            "it measures data in SALMU's layout (data/README.md)"
        )
    held = {split: list(builder.entries(split)) if builder.has_split(split) else [] for split in HOLDOUTS}
    fragile = read_fragile(metadata) if (metadata / FRAGILE).is_file() else []
    derived = vars(derive_splits(forget, held["holdout_association"], retain, fragile))
    if not builder.run.read_holdouts:
        derived["forget_identity"] = []  # the people of holdout_association are unknown
    return {"forget": forget, "retain_synth": retain, **held, **derived}
