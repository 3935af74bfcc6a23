"""Image–caption pairs as a torch data set, and their batches."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from lavis.common.errors import DataError
from lavis.common.seed import derived_seed, generator
from lavis.datasets.annotations import Entry
from lavis.datasets.mapped import ImageNames, MappedEntries, images_of_rows, picked
from lavis.images.pixel_cache import Caching
from lavis.images.store import ImageStore
from lavis.processors.image import ImageProcessor
from lavis.processors.text import TextProcessor

log = logging.getLogger(__name__)


class PairDataset(Dataset):
    """Pairs of an image and one of its captions.

    Random transforms and the choice among several captions depend only on (seed, epoch, image path), so the number of
    processes or workers does not change them.

    Args:
        entries: images with captions.
        image_root: the folder that every `Entry.image` is relative to, or an ImageStore for it.
        seed: seed of transforms and caption draws.
        on_bad_image: "fail" (DataError when the image is used) or "skip" (decode every image once now; leave out bad
            ones, count them in `skipped` and log them).
        cache: where decoded images are cached, a Caching or just its kind. Random processors are never cached.

    Raises DataError (no entries, empty caption, path outside the root), MissingFile (missing images), ConfigError.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        image_root: str | Path | ImageStore,
        image_processor: ImageProcessor,
        text_processor: TextProcessor,
        *,
        seed: int = 42,
        on_bad_image: str = "fail",
        cache: Caching | str = "none",
    ) -> None:
        assert on_bad_image in ("fail", "skip"), on_bad_image
        caching = Caching(cache) if isinstance(cache, str) else cache
        self.store = image_root if isinstance(image_root, ImageStore) else ImageStore(image_root)
        self.image_processor, self.text_processor = image_processor, text_processor
        self.seed, self.epoch = seed, 0
        self.needs_pixels = True  # False: batches have no "images", and none is decoded
        self.skipped = 0
        self.entries = self._usable(entries, on_bad_image)
        self._starts = np.concatenate([[0], np.cumsum(_caption_counts(self.entries))])
        self.captions: Sequence[str] = self._captions()
        names = dict.fromkeys(ImageNames(self.entries)) if caching.kind != "none" else {}
        self._numbers = {name: number for number, name in enumerate(names)}
        self._cache = caching.build(self.store.root, list(self._numbers), image_processor, self.store.stamp)
        self.image_ids = torch.from_numpy(_image_numbers(self.entries))

    @property
    def views(self) -> int | None:
        """After how many epochs the pixels of every row repeat (1: they never change); None: never."""
        return self.image_processor.versions

    @property
    def in_memory(self) -> bool:
        """Whether every image is cached or none is needed, so that nothing is left to decode."""
        return not self.needs_pixels or (self._cache is not None and self._cache.full)

    def __len__(self) -> int:
        return len(self.entries)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that `dataset[i]` refers to."""
        self.epoch = epoch

    def caption_ids(self, index: int) -> range:
        """Positions in `captions` of the captions of entry `index`."""
        return range(int(self._starts[index]), int(self._starts[index + 1]))

    def caption_id(self, index: int, epoch: int) -> int:
        """Position of the caption that entry `index` is paired with in this epoch, a seeded draw among its captions."""
        ids = self.caption_ids(index)
        if len(ids) == 1:
            return ids[0]
        return ids[derived_seed(self.seed, "caption", epoch, self.entries[index].image) % len(ids)]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """{"image": uint8 (3, S, S), "caption": str, "index": int, "caption_id": int} for the current epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range for a data set of {len(self)} entries")
        position = self.caption_id(index, self.epoch)
        image = self.images([index], self.epoch)[0]
        return {"image": image, "caption": self.captions[position], "index": int(index), "caption_id": position}

    def batch(self, indices: Iterable[int], epoch: int) -> dict[str, Any]:
        """The collated batch of these entries.

        Its keys are those of `collate_pairs`, "image_ids" (int64 (B,), equal for entries of one image), and those of
        `targets`.
        """
        rows = [int(i) for i in indices]
        positions = [self.caption_id(i, epoch) for i in rows]
        return {
            **({"images": self.images(rows, epoch)} if self.needs_pixels else {}),
            "captions": [self.captions[p] for p in positions],
            "index": torch.tensor(rows, dtype=torch.int64),
            "caption_id": torch.tensor(positions, dtype=torch.int64),
            "image_ids": self.image_ids[rows],
            **self.targets(rows),
        }

    def targets(self, rows: list[int]) -> dict[str, Any]:
        """Additional keys of a batch of these entries: answers or labels in subclasses."""
        return {}

    def names(self, index: int, epoch: int) -> tuple[str, ...]:
        """The images of an entry in their order in this epoch."""
        return self.entries[index].images

    def images(self, indices: Sequence[int], epoch: int = 0) -> torch.Tensor:
        """Pixels of these entries in this epoch: uint8 (B, 3, S, S), or (B, 2, 3, S, S) for entries of two images."""
        names = [self.names(i, epoch) for i in indices]
        flat = [name for group in names for name in group]
        if self._cache is not None:
            numbered = {self._numbers[name]: name for name in flat}
            rows = [self._numbers[name] for name in flat]
            pixels = self._cache.rows(rows, lambda k: self._pixels(numbered[k], epoch))
        else:
            pixels = torch.stack([self._pixels(name, epoch) for name in flat])
        return pixels if len(names[0]) == 1 else pixels.unflatten(0, (len(names), len(names[0])))

    def _pixels(self, name: str, epoch: int) -> torch.Tensor:
        processor = self.image_processor
        view = epoch % processor.versions if processor.versions else epoch
        draws = None if processor.deterministic else generator(self.seed, "image", view, name)
        image = self.store.open(name, processor.shrink)
        reason = processor.refusal(image.height, image.width)
        if reason:
            raise DataError(self.store.unfit(name, reason))
        return processor(image, draws)

    def _captions(self) -> Sequence[str]:
        """The processed captions; of mapped entries each is read when it is used."""
        if isinstance(self.entries, MappedEntries):
            return _MappedCaptions(self)
        return [self._caption(entry, text) for entry in self.entries for text in entry.captions]

    def _caption(self, entry: Entry, text: str) -> str:
        caption = self.text_processor(text)
        if not caption.strip():
            name = type(self.text_processor).__name__
            problem = f"a caption of {len(text)} characters is empty after {name}; use another text processor"
            raise DataError(f"image {self.store.shown(entry.image)}: {problem}")
        return caption

    def _usable(self, entries: Sequence[Entry], policy: str) -> Sequence[Entry]:
        entries = entries if isinstance(entries, MappedEntries) else list(entries)
        total = len(entries)
        self.store.check(ImageNames(entries))
        if policy == "skip":
            unusable = self.store.unusable(list(ImageNames(entries)), self.image_processor.refusal)
            for reason in itertools.islice(unusable.values(), 3):
                log.warning("skipped: %s", reason)
            entries = picked(entries, np.flatnonzero([unusable.keys().isdisjoint(i) for i in images_of_rows(entries)]))
            self.skipped = total - len(entries)
            if self.skipped:
                log.warning("skipped %d of %d entries with bad images in %s", self.skipped, total, self.store.root)
        if not entries:
            raise DataError(f"no entries for a data set under {self.store.root} ({self.skipped} skipped)")
        return entries


class _MappedCaptions(Sequence[str]):
    """The processed captions of a data set of mapped entries."""

    def __init__(self, dataset: PairDataset) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return int(self._dataset._starts[-1])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"caption {index} of {len(self)}")
        starts = self._dataset._starts
        row = int(np.searchsorted(starts, index, side="right")) - 1
        entry = self._dataset.entries[row]
        return self._dataset._caption(entry, entry.captions[index - int(starts[row])])

    def __iter__(self) -> Iterator[str]:
        return (self._dataset._caption(entry, text) for entry in self._dataset.entries for text in entry.captions)


def _caption_counts(entries: Sequence[Entry]) -> np.ndarray:
    """How many captions each entry has, (n,) int64."""
    if isinstance(entries, MappedEntries):
        return entries.caption_counts()
    return np.fromiter((len(entry.captions) for entry in entries), np.int64, len(entries))


def _image_numbers(entries: Sequence[Entry]) -> np.ndarray:
    """The same number for entries of one image, (n,) int64, by its id or, where it has none, its path."""
    if isinstance(entries, MappedEntries):
        return entries.image_numbers()
    known: dict[str, int] = {}
    ids = (entry.image if entry.image_id is None else str(entry.image_id) for entry in entries)
    return np.fromiter((known.setdefault(name, len(known)) for name in ids), np.int64, len(entries))


def collate_pairs(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{"images": uint8 (B, 3, S, S), "captions": list of B, "index": int64 (B,), "caption_id": int64 (B,)} of items."""
    return {
        "images": torch.stack([item["image"] for item in items]),
        "captions": [item["caption"] for item in items],
        "index": torch.tensor([item["index"] for item in items], dtype=torch.int64),
        "caption_id": torch.tensor([item["caption_id"] for item in items], dtype=torch.int64),
    }
