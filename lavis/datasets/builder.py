"""From configuration to data: which entries train, which are forgotten, which are evaluated."""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np

from lavis.common.errors import ConfigError, DataError, MissingFile, suggest
from lavis.common.forget_list import read_forget_list
from lavis.common.seed import derived_seed
from lavis.datasets.annotations import Entry, Parse, pair_entry, read_annotations
from lavis.datasets.pairs import PairDataset
from lavis.datasets.partition import split_forget
from lavis.images.pixel_cache import Caching
from lavis.images.store import ImageStore
from lavis.images.tars import TarStore, tar_files
from lavis.processors.base import build_processor
from lavis.settings.schema import REFERENCES, DatasetConfig, RunConfig

log = logging.getLogger(__name__)

HOLDOUTS = ("holdout_identity", "holdout_association")
STAGES = ("train", "eval")
PROCESSORS = {"vis_processor": "image", "text_processor": "text"}  # and what each kind takes


@dataclass(frozen=True)
class Partition:
    """Training entries in two parts: `df` to forget (in the list's order), `dr` to retain."""

    df: list[Entry]
    dr: list[Entry]


class PairBuilder:
    """Base of data sets of image-caption pairs.

    Subclasses set `name` (the key under `datasets:`) and `job_names` (command-line task name -> registered task), and
    override `hint` (what to run when files are missing), `prepare`, or, where rows are no image-caption pairs, `parse`
    (item of an annotation file to entry) and `dataset_class`.

    Args:
        config: `datasets.<name>`, of the class `config_class`. run: `run`.
    """

    name: ClassVar[str] = "pairs"
    job_names: ClassVar[dict[str, str]] = {}
    config_class: ClassVar[type[DatasetConfig]] = DatasetConfig
    dataset_class: ClassVar[type[PairDataset]] = PairDataset
    parse: ClassVar[Parse] = staticmethod(pair_entry)

    def __init__(self, config: DatasetConfig, run: RunConfig) -> None:
        self.config, self.run = config, run
        self.image_root = Path(config.build_info.images.storage)
        self._shards = tar_files(self.image_root)
        self._files = {split: _listed(part.storage) for split, part in config.build_info.annotations.items()}
        self._entries: dict[str, list[Entry]] = {}
        self._store: ImageStore | None = None

    @classmethod
    def check(cls, config: DatasetConfig) -> None:
        """Refuse processors that do not exist or do not take these arguments. Raises ConfigError."""
        for key, stage in itertools.product(PROCESSORS, STAGES):
            if getattr(getattr(config, key), stage):
                _build_processor(config, cls.name, key, stage)

    @property
    def hint(self) -> str:
        """What to run when a file is missing; ends messages."""
        return f"see data/README.md for where the files of '{self.name}' come from"

    @property
    def splits(self) -> list[str]:
        """Configured splits whose annotation files exist."""
        return [split for split in self._files if self.has_split(split)]

    @property
    def store(self) -> ImageStore:
        """The image root, shared by all data sets of this builder."""
        if self._store is None:
            kept = Path(self.run.output_dir) / "shards"
            shards = self._shards
            self._store = (
                TarStore(shards, self.image_root, self.hint, kept) if shards else ImageStore(self.image_root, self.hint)
            )
        return self._store

    @property
    def metadata_root(self) -> Path:
        """Where SALMU's layout has its metadata files: beside the image root."""
        return self.image_root.parent / "metadata"

    @property
    def forget_path(self) -> Path:
        """The forget list of run.df_seed."""
        if not self.config.forget_list:
            example = f"data/Df/{self.name}/image-{{seed}}.txt"
            raise ConfigError(f"datasets.{self.name}.forget_list is empty: name the list, for example {example}")
        return Path(self.config.forget_list.replace("{seed}", str(self.run.df_seed)))

    def prepare(self) -> None:
        """Make sure that the files this run needs are there. Raises MissingFile with the command to run."""
        if not self._shards and not self.image_root.is_dir():
            raise MissingFile(f"image root {self.image_root} does not exist; {self.hint}")
        for split in {*self.run.train_splits, *self.run.test_splits, *self.run.valid_splits}:
            for path in self._paths(split):
                if not Path(path).is_file():
                    raise MissingFile(f"annotation file {path} of split '{split}' does not exist; {self.hint}")

    def has_split(self, split: str) -> bool:
        """True when the split is configured, its files exist, and run.read_holdouts does not close it."""
        if self._closed(split):
            return False
        files = self._files.get(split)
        return bool(files) and all(Path(path).is_file() for path in files)

    def _closed(self, split: str) -> bool:
        return split in HOLDOUTS and not self.run.read_holdouts

    def entries(self, split: str) -> list[Entry]:
        """The entries of a split. Raises ConfigError (unknown or closed split), MissingFile, DataError."""
        if self._closed(split):
            raise ConfigError(f"split '{split}' is a holdout split, and run.read_holdouts=false keeps it unread")
        if split not in self._entries:
            self._entries[split] = self.read(split)
        return self._entries[split]

    def read(self, split: str) -> list[Entry]:
        """The entries of a split's files; `entries` asks once."""
        return read_annotations(self._paths(split), self.hint, type(self).parse)

    def train_entries(self, allow_holdout: bool = False) -> list[Entry]:
        """Entries of run.train_splits. Raises DataError when one lies in a holdout folder, unless that is allowed."""
        found = [entry for split in self.run.train_splits for entry in self.entries(split)]
        named = {entry.image for split in HOLDOUTS if self.has_split(split) for entry in self.entries(split)}
        held = [entry.image for entry in found if entry.image in named or in_folder(entry.image, HOLDOUTS)]
        if held and not allow_holdout:
            raise DataError(
                f"datasets.{self.name}: {len(held)} training images lie in holdout folders or splits, the first: "
                f"{', '.join(held[:3])}; holdout splits are never trained on: remove them from the annotations "
                f"of {', '.join(self.run.train_splits)}"
            )
        return found

    def forget_images(self) -> list[str]:
        """The images of the forget list, the first run.df_size of them if that is set."""
        return read_forget_list(self.forget_path, self.run.df_size, self.hint)

    def partition(self) -> Partition:
        """Training entries split by the forget list. Raises MissingFile, DataError, ConfigError."""
        return Partition(*split_forget(self.train_entries(), self.forget_images(), self.forget_path))

    def reference_entries(self, kind: str) -> list[Entry]:
        """What a reference model trains on.

        compromised: everything in train; retrained: that without Df; clean: train without any image of the
        forget list (all its lines) or of a folder named forget. With run.train_on_holdout, compromised and
        retrained also see the holdout splits that are annotated.
        """
        assert kind in REFERENCES, kind
        if kind == "clean":
            listed = set(read_forget_list(self.forget_path, hint=self.hint))
            kept = [e for e in self.train_entries(allow_holdout=True) if e.image not in listed]
            return [e for e in kept if not in_folder(e.image, ("forget", *HOLDOUTS))]
        seen = self._with_holdouts() if self.run.train_on_holdout else self.train_entries()
        if kind == "compromised":
            return seen
        return split_forget(seen, self.forget_images(), self.forget_path)[1]

    def evaluation_entries(self) -> dict[str, list[Entry]]:
        """Splits to evaluate: run.test_splits, df, dr, and the holdouts that are annotated.

        dr is a sample of at most run.dr_max_ratio * |Df| entries, drawn by run.df_seed, so that every method and
        training seed is measured on the same one. run.eval_max_pairs cuts each split to evenly spaced entries.
        """
        found = {split: self.entries(split) for split in self.run.test_splits}
        if self.config.forget_list:
            parts = self.partition()
            parts = Partition(self.evaluated(parts.df), self.evaluated(parts.dr))
            found |= {"df": parts.df, "dr": self._sample(parts.dr, self.run.dr_max_ratio * len(parts.df))}
        found |= {split: self.entries(split) for split in HOLDOUTS if self.has_split(split)}
        return {split: evenly(entries, self.run.eval_max_pairs) for split, entries in found.items()}

    def evaluated(self, entries: list[Entry]) -> list[Entry]:
        """Training entries as they are evaluated: here one entry an image, with all its captions (COCO's are split)."""
        return merged(entries)

    def dataset(self, entries: Sequence[Entry], stage: str) -> PairDataset:
        """Entries as a data set with the processors of a stage ("train" or "eval")."""
        if stage not in STAGES:
            raise ConfigError(f"unknown stage '{stage}'; {suggest(stage, STAGES)}")
        return self._dataset_class(stage)(
            entries,
            self.store,
            self._processor("vis_processor", stage),
            self._processor("text_processor", stage),
            seed=self.run.seed,
            on_bad_image=self.run.on_bad_image,
            cache=self._caching(),
        )

    def _caching(self) -> Caching:
        config = self.config
        folder = config.image_cache_folder or f"{self.run.output_dir}/pixels"
        return Caching(config.image_cache, folder, config.image_cache_gb)

    def _dataset_class(self, stage: str) -> type[PairDataset]:
        return self.dataset_class

    def _processor(self, key: str, stage: str) -> Any:
        return _build_processor(self.config, self.name, key, stage)

    def _paths(self, split: str) -> list[str]:
        if not self._files.get(split):
            key = f"datasets.{self.name}.build_info.annotations"
            raise ConfigError(f"{key} has no split '{split}'; {suggest(split, self._files)}")
        return self._files[split]

    def _with_holdouts(self) -> list[Entry]:
        """Training entries and those of the annotated holdout splits, each image's entry once."""
        seen = self.train_entries(allow_holdout=True)
        images = {entry.image for entry in seen}
        held = [entry for split in HOLDOUTS if self.has_split(split) for entry in self.entries(split)]
        return seen + [entry for entry in held if entry.image not in images]

    def _sample(self, entries: list[Entry], most: int) -> list[Entry]:
        order = np.random.default_rng(derived_seed(self.run.df_seed, "dr sample")).permutation(len(entries))
        return [entries[i] for i in order[:most]]


def in_folder(image: str, names: Sequence[str]) -> bool:
    """True when a folder on the image's path has exactly one of these names."""
    return any(part in names for part in PurePosixPath(image).parts[:-1])


def merged(entries: Sequence[Entry]) -> list[Entry]:
    """One entry an image, in order of first occurrence, with the captions of all its entries."""
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
    """At most `most` entries, evenly spaced, in order (all if None)."""
    if most is None or len(entries) <= most:
        return entries
    return [entries[i * len(entries) // most] for i in range(most)]


def _build_processor(config: DatasetConfig, name: str, key: str, stage: str) -> Any:
    return build_processor(getattr(getattr(config, key), stage), PROCESSORS[key], f"datasets.{name}.{key}.{stage}")


def _listed(storage: Sequence[str]) -> list[str]:
    """Files of a storage key; of a pattern of shards all that fit it."""
    return [str(path) for name in storage for path in (tar_files(name) if name.endswith(".tar") else [name])]
