"""Builds data from a configuration: the entries to train on, to forget and to evaluate."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lavis.common.aliases import Aliases
from lavis.common.errors import ConfigError, DataError, MissingFile, first_few, missing_file, suggest
from lavis.common.forget_list import first_of_list, read_forget_list
from lavis.common.seed import derived_seed
from lavis.datasets.annotations import Entry, Parse, pair_entry, read_annotations
from lavis.datasets.mapped import SUFFIX, ImageNames, MappedEntries, images_of_rows, joined, picked
from lavis.datasets.pairs import PairDataset
from lavis.datasets.partition import Partition, evenly, in_folder, merged, split_forget
from lavis.datasets.twins import Twin, describe, exact_twins, settle
from lavis.images.pixel_cache import Caching
from lavis.images.store import ImageStore
from lavis.images.tars import TarStore, tar_files
from lavis.importing.salmu_metadata import read_identities
from lavis.processors.base import build_processor
from lavis.settings.data_schema import DatasetConfig
from lavis.settings.schema import REFERENCES, RunConfig

log = logging.getLogger(__name__)

HOLDOUTS = ("holdout_identity", "holdout_association")
STAGES = ("train", "eval")
PROCESSORS = {"vis_processor": "image", "text_processor": "text"}  # configuration key -> kind of processor


class PairBuilder:
    """Base class of builders for image–caption pairs.

    Subclasses set `name` (the key under `datasets:`) and `job_names` (task name on the command line -> registered
    task). They may override `hint` and `prepare`, and for other kinds of rows `parse`, `dataset_class` and
    `merges_captions`.

    Args:
        config: the section `datasets.<name>`, of class `config_class`. run: the section `run`.
    """

    name: ClassVar[str] = "pairs"
    job_names: ClassVar[dict[str, str]] = {}
    config_class: ClassVar[type[DatasetConfig]] = DatasetConfig
    dataset_class: ClassVar[type[PairDataset]] = PairDataset
    parse: ClassVar[Parse] = staticmethod(pair_entry)
    twins: ClassVar[str] = "keep"  # run.twins where it is null: published splits are used as they are
    merges_captions: ClassVar[bool] = True  # evaluate the rows of one image as one entry with several captions

    def __init__(self, config: DatasetConfig, run: RunConfig) -> None:
        self.config, self.run = config, run
        self.image_root = Path(config.build_info.images.storage)
        self._shards = tar_files(self.image_root)
        self._files = {split: _listed(part.storage) for split, part in config.build_info.annotations.items()}
        self._entries: dict[str, Sequence[Entry]] = {}
        self._store: ImageStore | None = None
        self._partition: Partition | None = None
        self._twins: list[Twin] = []

    @classmethod
    def check(cls, config: DatasetConfig) -> None:
        """Check the names and arguments of the configured processors. Raises ConfigError."""
        for key, stage in itertools.product(PROCESSORS, STAGES):
            if getattr(getattr(config, key), stage):
                _build_processor(config, cls.name, key, stage)

    @property
    def hint(self) -> str:
        """What to do if a file is missing, the end of messages."""
        return f"see data/README.md for where the files of '{self.name}' come from"

    @property
    def splits(self) -> list[str]:
        """Configured splits whose annotation files exist."""
        return [split for split in self._files if self.has_split(split)]

    @property
    def store(self) -> ImageStore:
        """The images, opened once for all data sets of this builder."""
        if self._store is None and self._shards:
            index = Path(self.run.output_dir) / "shards"
            self._store = TarStore(self._shards, self.image_root, self.hint, index)
        elif self._store is None:
            self._store = ImageStore(self.image_root, self.hint, links=self.config.follow_links)
        self._store.called = self.aliases
        return self._store

    @cached_property
    def aliases(self) -> Aliases:
        """What messages call images: those that the forget list names by their rows in it."""
        return Aliases.of(self.listed_images if self.forgets else list, Path(self.run.output_dir))

    @property
    def metadata_root(self) -> Path:
        """The folder of SALMU's metadata files, next to the image root."""
        return self.image_root.parent / "metadata"

    @property
    def forget_path(self) -> Path:
        """The forget list of run.df_seed."""
        if not self.config.forget_list:
            example = f"data/Df/{self.name}/image-{{seed}}.txt"
            raise ConfigError(f"datasets.{self.name}.forget_list is empty; set it to a path, for example {example}")
        return Path(self.config.forget_list.replace("{seed}", str(self.run.df_seed)))

    @property
    def forgets(self) -> bool:
        """Whether the configuration says what to forget."""
        return bool(self.config.forget_list)

    @property
    def forget_source(self) -> str:
        """What says what to forget, for messages."""
        return str(self.forget_path)

    @property
    def data_files(self) -> list[Path]:
        """The files that say what is trained on and evaluated: annotations, the forget list."""
        listed = [self.forget_path] if self.config.forget_list else []
        return [Path(path) for name, files in self._files.items() if not self._closed(name) for path in files] + listed

    @property
    def test_splits(self) -> list[str]:
        """Splits to evaluate besides df, dr and the holdouts."""
        return self.run.test_splits

    @property
    def counts(self) -> dict[str, int]:
        """Counts for results.json of what a user should know about: dropped rows, twins."""
        return {"twins": len(self._twins)} if self._twins else {}

    def notices(self) -> list[str]:
        """Sentences for the end of a run about data that was not used as it is."""
        return [describe(self._twins, self.twins_path)] if self._twins else []

    def people(self) -> dict[str, dict[str, Any]]:
        """Facts about everybody by identity, "name" among them. Raises MissingFile, DataError."""
        return read_identities(self.metadata_root, self.hint)

    def prepare(self) -> None:
        """Check that the files this run needs exist. Raises MissingFile with what to do."""
        if not self._shards and not self.image_root.is_dir():
            raise missing_file("image root", self.image_root, self.hint)
        for split in {*self.run.train_splits, *self.test_splits, *self.run.valid_splits}:
            for path in self._paths(split):
                if not Path(path).is_file():
                    raise MissingFile(f"annotation file {path} of split '{split}' does not exist; {self.hint}")

    def has_split(self, split: str) -> bool:
        """Whether the split is configured, its files exist, and run.read_holdouts permits it."""
        if self._closed(split):
            return False
        files = self._files.get(split)
        return bool(files) and all(Path(path).is_file() for path in files)

    def _closed(self, split: str) -> bool:
        return split in HOLDOUTS and not self.run.read_holdouts

    def entries(self, split: str) -> Sequence[Entry]:
        """The entries of a split, read once. Raises ConfigError (unknown or closed split), MissingFile, DataError."""
        if self._closed(split):
            raise ConfigError(f"split '{split}' is a holdout split, and run.read_holdouts=false forbids reading it")
        if split not in self._entries:
            self._entries[split] = self.read(split)
        return self._entries[split]

    def read(self, split: str) -> Sequence[Entry]:
        """The entries of a split's files; those of Arrow files are read as they are used."""
        paths, parse = [Path(path) for path in self._paths(split)], type(self).parse
        mapped = parse is pair_entry and all(path.suffix == SUFFIX for path in paths)
        return MappedEntries(paths) if mapped else read_annotations(paths, self.hint, parse)

    def train_entries(self, allow_holdout: bool = False) -> Sequence[Entry]:
        """Entries of run.train_splits. Raises DataError if one is in a holdout folder or split, unless allowed."""
        entries = joined([self.entries(split) for split in self.run.train_splits])
        holdouts = {entry.image for entry in self._holdout_entries()}
        wrong = [i for i, *_ in images_of_rows(entries) if i in holdouts or in_folder(i, HOLDOUTS)]
        if wrong and not allow_holdout:
            first = first_few([self.aliases(image) for image in wrong[:3]])
            raise DataError(
                f"datasets.{self.name}: {len(wrong)} training images are in holdout folders or splits, the first: "
                f"{first}; holdouts must not be trained on: remove them from {', '.join(self.run.train_splits)}"
            )
        return entries

    def listed_images(self) -> list[str]:
        """All images that are to be forgotten, in order. Raises MissingFile, DataError."""
        return read_forget_list(self.forget_path, hint=self.hint)

    def forget_images(self) -> list[str]:
        """The images to forget: all listed, or the first run.df_size if set. Raises ConfigError, too."""
        return first_of_list(self.listed_images(), self.run.df_size, self.forget_source)

    def partition(self) -> Partition:
        """Training entries: those to forget, and the rest. Raises MissingFile, DataError, ConfigError."""
        if self._partition is None:
            self._partition = Partition(*self._split(self.train_entries()))
        return self._partition

    def _split(self, entries: Sequence[Entry]) -> tuple[list[Entry], Sequence[Entry]]:
        df, dr = split_forget(entries, self.forget_images(), self.forget_source, self.aliases)
        self._twins = exact_twins(self.store, df, dr)
        return settle(self._twins, df, dr, self.run.twins or self.twins, self.twins_path)

    @property
    def twins_path(self) -> Path:
        """The list of retained images that are copies of images to forget."""
        return Path(self.run.output_dir) / "twins.json"

    def reference_entries(self, kind: str) -> Sequence[Entry]:
        """The training entries of a reference model.

        compromised: all training entries. retrained: the same without Df. clean: the training entries whose image is
        neither in the forget list (all of its lines) nor in a folder named forget. With run.train_on_holdout,
        compromised and retrained also train on the annotated holdout splits.
        """
        assert kind in REFERENCES, kind
        if kind == "clean":
            listed, entries = set(self.listed_images()), self.train_entries(allow_holdout=True)
            folders = ("forget", *HOLDOUTS)
            clean = [i not in listed and not in_folder(i, folders) for i, *_ in images_of_rows(entries)]
            return picked(entries, np.flatnonzero(clean))
        if not self.run.train_on_holdout:
            return self.train_entries() if kind == "compromised" else self.partition().dr
        entries = self._with_holdouts()
        return entries if kind == "compromised" else self._split(entries)[1]

    def evaluation_entries(self) -> dict[str, list[Entry]]:
        """Entries to evaluate by split: run.test_splits, df, dr, and the annotated holdouts.

        dr is a sample of at most run.dr_max_ratio * |Df| entries. It depends only on run.df_seed, so that all methods
        and training seeds are measured on the same sample. run.eval_max_pairs limits each split, evenly spaced.
        """
        splits = {split: self.entries(split) for split in self.test_splits}
        if self.forgets:
            parts = self.partition()
            df, dr = (merged(part) if self.merges_captions else part for part in (parts.df, parts.dr))
            splits |= {"df": df, "dr": self._sample(dr, self.run.dr_max_ratio * len(df))}
        splits |= {split: self.entries(split) for split in HOLDOUTS if self.has_split(split)}
        return {split: evenly(entries, self.run.eval_max_pairs) for split, entries in splits.items()}

    def dataset(self, entries: Sequence[Entry], stage: str) -> PairDataset:
        """A data set of these entries with the processors of a stage, "train" or "eval"."""
        if stage not in STAGES:
            raise ConfigError(f"unknown stage '{stage}'; {suggest(stage, STAGES)}")
        options = {"seed": self.run.draw_seed, "on_bad_image": self.run.on_bad_image, "cache": self._caching()}
        return self._dataset_class(stage)(entries, self.store, *self.processors(stage), **options)

    def processors(self, stage: str) -> tuple[Any, Any]:
        """The image and the text processor of a stage."""
        image, text = (_build_processor(self.config, self.name, key, stage) for key in PROCESSORS)
        return image, text

    def _caching(self) -> Caching:
        config, output = self.config, self.run.output_dir
        own = config.image_cache_folder
        return Caching(config.image_cache, own or f"{output}/pixels", config.image_cache_gb, "" if own else output)

    def _dataset_class(self, stage: str) -> type[PairDataset]:
        return self.dataset_class

    def _paths(self, split: str) -> list[str]:
        if not self._files.get(split):
            key = f"datasets.{self.name}.build_info.annotations"
            raise ConfigError(f"{key} has no split '{split}'; {suggest(split, self._files)}")
        return self._files[split]

    def _holdout_entries(self) -> list[Entry]:
        """Entries of the holdout splits that can be read."""
        return [entry for split in HOLDOUTS if self.has_split(split) for entry in self.entries(split)]

    def _with_holdouts(self) -> Sequence[Entry]:
        """Training entries, then those of the holdout splits whose images they do not contain."""
        entries, held = self.train_entries(allow_holdout=True), self._holdout_entries()
        known = {entry.image for entry in held}.intersection(ImageNames(entries))
        return joined([entries, [entry for entry in held if entry.image not in known]])

    def _sample(self, entries: Sequence[Entry], most: int) -> list[Entry]:
        order = np.random.default_rng(derived_seed(self.run.df_seed, "dr sample")).permutation(len(entries))
        return [entries[i] for i in order[:most]]


def _build_processor(config: DatasetConfig, name: str, key: str, stage: str) -> Any:
    return build_processor(getattr(getattr(config, key), stage), PROCESSORS[key], f"datasets.{name}.{key}.{stage}")


def _listed(storage: Sequence[str]) -> list[str]:
    """Files of a `storage` key, with patterns of tar shards expanded."""
    return [str(path) for name in storage for path in (tar_files(name) if name.endswith(".tar") else [name])]
