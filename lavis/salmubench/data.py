"""What the benchmark measures on: its splits, gathered from a builder and its side files, and embedded."""

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
from lavis.datasets.imagenet import ImageNet
from lavis.datasets.metadata import FRAGILE, IDENTITIES, read_fragile, read_identities
from lavis.datasets.partition import evenly
from lavis.evaluation.context import Context, PairContext
from lavis.evaluation.metric import NotMeasured
from lavis.salmubench.splits import derive_splits
from lavis.salmubench.splits import whole_and_partial as whole_or_partial

UNSEEN = "unseen_personas.json"
CLASSES = "zero_shot_classes.json"
WITH_IMAGES = ("forget", *HOLDOUTS, "retain_joint", "fragile_set")


@dataclass(frozen=True)
class Part:
    """A split pair by pair: image (n, D), text (n, D), captions and entries, n each."""

    image: torch.Tensor
    text: torch.Tensor
    captions: list[str]
    entries: list[Entry]

    def rows(self, images: set[str]) -> list[int]:
        """Numbers of the rows with one of these images."""
        return [row for row, entry in enumerate(self.entries) if entry.image in images]

    def only(self, rows: Sequence[int]) -> Part:
        """These rows alone."""
        chosen = list(rows)
        captions, entries = [self.captions[i] for i in chosen], [self.entries[i] for i in chosen]
        return Part(self.image[chosen], self.text[chosen], captions, entries)


class BenchmarkData:
    """A model's view of the benchmark: its splits and texts, each image and text embedded once.

    Metrics get it by `context.shared(BenchmarkData)`. Raises DataError when the data set has no folder named forget
    (it is not laid out as SALMU is), and when a metadata file is malformed or belongs to another data set.
    """

    def __init__(self, context: Context) -> None:
        assert isinstance(context, PairContext)
        self.context, self.builder, self.run, self.bank = context, context.builder, context.run, context.bank
        self.choices = self.run.salmubench
        self.metadata = self.builder.metadata_root
        self.splits = _splits(self.builder, self.metadata)
        self.people = read_identities(self.metadata) if self.has(IDENTITIES) else {}
        self.whole, self.partial = _whole_and_partial(self.builder, self.splits)
        self.imagenet = self._imagenet()
        self._parts: dict[str, Part] = {}

    def _imagenet(self) -> ImageNet | None:
        """The images that run.imagenet names, listed and checked now: a wrong path is reported before any work."""
        if not self.run.imagenet:
            return None
        processor = self.bank.dataset(self.splits["forget"][:1]).image_processor
        return ImageNet(self.run.imagenet, processor, self.run.num_workers)

    def has(self, name: str) -> bool:
        """True when the data set comes with this metadata file."""
        return (self.metadata / name).is_file()

    def json(self, name: str) -> Any:
        """The content of a metadata file."""
        return read_json(self.metadata / name, "metadata file", self.builder.hint)

    def images(self) -> list[list[Entry]]:
        """The entries whose images the metrics need, to be embedded in one pass."""
        return [self._cut(self.splits[split]) for split in WITH_IMAGES] + [self._cut(self.labelled()[0])]

    def labelled(self) -> tuple[list[Entry], dict[str, Any]]:
        """Images with a class for zero-shot classification, and their metadata file; nothing where there is none."""
        if not self.has(CLASSES):
            return [], {}
        known = self.json(CLASSES)
        return [e for e in self.builder.entries(known["split"]) if e.image in known["images"]], known

    def part(self, split: str, entries: Sequence[Entry] | None = None) -> Part:
        """A split (or other entries) embedded, cut to run.eval_max_pairs. Raises NotMeasured when it is empty."""
        if split not in self._parts:
            chosen = self._cut(self.splits[split] if entries is None else entries)
            if not chosen:
                raise NotMeasured(f"split '{split}' is missing or empty")
            found, dataset = self.bank.split(split, chosen), self.bank.dataset(chosen)
            owners = found.txt2img
            own = [dataset.entries[i] for i in owners.tolist()]
            self._parts[split] = Part(found.image[owners], found.text, dataset.captions, own)
        return self._parts[split]

    def texts(self, captions: Sequence[str], name: str) -> torch.Tensor:
        """Rows of captions (n, D)."""
        return self.bank.texts(captions, name)

    def captions(self, split: str) -> tuple[list[str], list[Entry]]:
        """The captions of a whole split as the text processor leaves them, and the entry of each."""
        if not self.splits[split]:
            return [], []
        dataset = self.bank.dataset(self.splits[split])
        return dataset.captions, [entry for entry in dataset.entries for _ in entry.captions]

    def _cut(self, entries: Sequence[Entry]) -> list[Entry]:
        return evenly(list(entries), self.run.eval_max_pairs)


def _splits(builder: PairBuilder, metadata: Path) -> dict[str, list[Entry]]:
    """The four splits and the derived ones, by name; those that the data set lacks are empty."""
    names = [split for split in builder.splits if split not in HOLDOUTS]
    rows = {entry.image: entry for split in names for entry in builder.entries(split)}
    tops = {image: PurePosixPath(image).parts[0] for image in rows}
    forget, retain = ([rows[i] for i in rows if tops[i] == folder] for folder in ("forget", "retain_synth"))
    if not forget:
        raise DataError(
            f"datasets.{builder.name}: no picture lies in a folder 'forget', which run.metrics=[salmubench] needs; "
            "it measures data in SALMU's layout (data/README.md)"
        )
    held = {split: builder.entries(split) if builder.has_split(split) else [] for split in HOLDOUTS}
    fragile = read_fragile(metadata) if (metadata / FRAGILE).is_file() else []
    derived = vars(derive_splits(forget, held["holdout_association"], retain, fragile))
    if not builder.run.read_holdouts:
        derived["forget_identity"] = []  # who is in holdout_association stays unknown
    return {"forget": forget, "retain_synth": retain, **held, **derived}


def _whole_and_partial(builder: PairBuilder, splits: dict[str, list[Entry]]) -> tuple[set[str], set[str]]:
    """Images of Df whose identity is whole, and partial, in it; none while the holdout splits are closed."""
    if not builder.run.read_holdouts:
        return set(), set()
    df = builder.partition().df if builder.forgets else splits["forget"]
    whole, partial = whole_or_partial(df, [*splits["forget"], *splits["holdout_association"]])
    return {df[row].image for row in whole}, {df[row].image for row in partial}
