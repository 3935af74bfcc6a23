"""Data set `pairs`: image–caption pairs from the user's own table, folder, tar files or `datasets`.

    datasets:
      pairs:
        source: people.csv          # csv, tsv, json, jsonl, parquet, *.tar, folder, hf-dataset:NAME; or a list
        images: photos              # root of relative paths; default: where the table lies
        columns: {image: path, caption: text, person: who, split: part}
        forget: {where: {person: [p17, p18]}}     # or {list: FILE} or {table: FILE, on: path}
        fractions: {test: 0.1}      # where there is no split column; of people, where their column is named

Rows that cannot be used are dropped, counted by reason, and listed in a file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lavis.common.errors import ConfigError, DataError, first_few, suggest
from lavis.common.registry import registry
from lavis.datasets.annotations import Entry
from lavis.datasets.builder import PairBuilder
from lavis.datasets.condition import Forget
from lavis.datasets.people import names_of, split_people
from lavis.images.store import ImageStore
from lavis.settings.data_schema import DatasetConfig
from lavis.settings.declaration import SEED, setting
from lavis.settings.schema import RunConfig
from lavis.tables.columns import Pair
from lavis.tables.sources import Source, find_sources
from lavis.tables.table import Table, read_table, write_dropped

log = logging.getLogger(__name__)
RESERVED = {"df", "dr"}  # evaluated sets that follow from what is to be forgotten


@dataclass(frozen=True)
class PairsConfig(DatasetConfig):
    """The section `datasets.pairs`."""

    source: list[str] = setting([], "tables, tar files, folders or hf-dataset:NAME; patterns allowed", lone=True)
    images: str = setting("", "folder or tar files that image paths are relative to; empty: where the table lies")
    columns: dict[str, Any] = setting({}, "role (image, caption, person, name, split, image_id) -> column of the table")
    forget: dict[str, Any] = setting(
        {}, "what to forget: where: {column: values}, list: file, or table: file, on: column"
    )
    fractions: dict[str, float] = setting({}, "split -> its share of the people (of the images, if no person is named)")
    split_seed: int = setting(42, "seed of that draw", **SEED)


@registry.register_builder("pairs")
class OwnPairsBuilder(PairBuilder):
    """The user's own pairs. Splits: those of the split column, or train and those of `fractions`."""

    name: ClassVar[str] = "pairs"
    job_names: ClassVar[dict[str, str]] = {"pairs_retrieval": "retrieval"}
    config_class: ClassVar[type[DatasetConfig]] = PairsConfig
    twins: ClassVar[str] = "stop"

    def __init__(self, config: DatasetConfig, run: RunConfig) -> None:
        super().__init__(config, run)
        assert isinstance(config, PairsConfig)
        self.own = config
        self._forget = Forget.read(config.forget)

    @classmethod
    def check(cls, config: DatasetConfig) -> None:
        super().check(config)
        assert isinstance(config, PairsConfig)
        Forget.read(config.forget)
        for name in RESERVED & config.fractions.keys():
            raise ConfigError(f"datasets.pairs.fractions names '{name}', which follows from what is to be forgotten")

    @property
    def hint(self) -> str:
        return "check datasets.pairs.source and datasets.pairs.images"

    @cached_property
    def sources(self) -> list[Source]:
        """The tables. Raises as `find_sources` does."""
        return find_sources(self.own.source, "datasets.pairs.source")

    @property
    def data_files(self) -> list[Path]:
        listed = [Path(name) for name in (self._forget.file, self._forget.table) if name]
        return [*super().data_files, *(Path(source.path) for source in self.sources), *listed]

    @cached_property
    def table(self) -> Table:
        """The rows of all tables, read once. Raises DataError, MissingFile."""
        config = self.own
        folder = Path(self.run.output_dir) / "packed"
        return read_table(self.sources, config.columns, config.images, folder, links=config.follow_links)

    @property
    def store(self) -> ImageStore:
        store = self.table.store
        store.called = self.aliases
        return store

    @cached_property
    def all_entries(self) -> list[Entry]:
        """The usable rows of all splits."""
        return [_entry(pair) for pair in self.table.pairs]

    @cached_property
    def split_entries(self) -> dict[str, list[Entry]]:
        """The entries of every split. Raises DataError, ConfigError."""
        entries = self.all_entries
        if not entries:
            raise DataError(f"{self._sources_text}: no row can be used; {self.table.summary()}")
        split_of = [entry.extra.get("split") for entry in entries]
        if any(split is not None for split in split_of):
            if self.own.fractions:
                raise ConfigError(
                    "datasets.pairs.fractions is set, but the table has a split column; remove one of them"
                )
            return _by_column(entries)
        if not self.own.fractions:
            return {"train": list(entries)}
        return split_people(entries, self.own.fractions, self.own.split_seed, set(self._forgotten(entries)))

    def prepare(self) -> None:
        """Read the tables; list dropped rows in a file. Raises DataError, MissingFile, ConfigError."""
        write_dropped(self.table, self.dropped_path)
        for sentence in self.table.notices(self.dropped_path):
            log.warning("%s", sentence)
        only_measured = self.run.checkpoint and not self.forgets  # of a benchmark's table nothing is trained on
        for split in (*(() if only_measured else self.run.train_splits), *self.run.valid_splits):
            self._check_split(split)

    @property
    def dropped_path(self) -> Path:
        """The list of dropped rows."""
        return Path(self.run.output_dir) / "dropped_rows.csv"

    def notices(self) -> list[str]:
        return [*super().notices(), *self.table.notices(self.dropped_path)]

    @property
    def counts(self) -> dict[str, int]:
        return {**super().counts, **({"dropped_rows": len(self.table.dropped)} if self.table.dropped else {})}

    @property
    def splits(self) -> list[str]:
        return [split for split in self.split_entries if self.has_split(split)]

    def has_split(self, split: str) -> bool:
        return not self._closed(split) and bool(self.split_entries.get(split))

    def read(self, split: str) -> list[Entry]:
        self._check_split(split)
        return self.split_entries[split]

    @property
    def test_splits(self) -> list[str]:
        """run.test_splits; if "test", the default, is missing, none, or all there are if nothing is to be forgotten."""
        if self.run.test_splits != RunConfig().test_splits or self.has_split("test"):
            return self.run.test_splits
        return [] if self.forgets else self.splits

    @property
    def forgets(self) -> bool:
        return bool(self.own.forget)

    @property
    def forget_source(self) -> str:
        return str(self._forget) if self.own.forget else "datasets.pairs.forget"

    def listed_images(self) -> list[str]:
        if not self.own.forget:
            raise ConfigError(
                "datasets.pairs.forget is empty: say what to forget, for example forget: {where: {person: [p17]}}"
            )
        return self._listed

    @cached_property
    def _listed(self) -> list[str]:
        train = [entry for split in self.run.train_splits for entry in self.entries(split)]
        images = self._forgotten(train)
        if not images:
            raise DataError(f"{self.forget_source} matches no row of {', '.join(self.run.train_splits)}")
        return images

    def people(self) -> dict[str, dict[str, Any]]:
        return names_of(self.all_entries)

    def _forgotten(self, entries: Iterable[Entry]) -> list[str]:
        folder = Path(self.run.output_dir)
        return self._forget.images(list(entries), self.table.dropped, folder) if self.own.forget else []

    def _check_split(self, split: str) -> None:
        if not self.split_entries.get(split):
            raise ConfigError(
                f"{self._sources_text} has no split '{split}'; {suggest(split, self.split_entries)}. A split column "
                "(columns.split) or datasets.pairs.fractions makes splits"
            )

    @property
    def _sources_text(self) -> str:
        return first_few(self.own.source)


def _entry(pair: Pair) -> Entry:
    """Rows of one image are entries of their own; its id, where the table has none, is its name."""
    return Entry(pair.image, pair.captions, pair.facts.get("image_id"), pair.facts)


def _by_column(entries: list[Entry]) -> dict[str, list[Entry]]:
    """Entries by the split that their rows name. Raises DataError for a row without one, or an image in two splits."""
    result: dict[str, list[Entry]] = {}
    split_of: dict[str, str] = {}
    for entry in entries:
        split = entry.extra.get("split")
        if split is None:
            raise DataError(f"{entry.image}: its row names no split while others do; fill in the column")
        if split_of.setdefault(entry.image, str(split)) != str(split):
            raise DataError(
                f"rows contradict each other: {entry.image} is in split '{split_of[entry.image]}' and in '{split}'"
            )
        result.setdefault(str(split), []).append(entry)
    return result
