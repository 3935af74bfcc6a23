"""What to forget in the user's own table: a condition on columns, a list of images, or another table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lavis.common.aliases import Aliases
from lavis.common.errors import ConfigError, DataError, first_few, suggest
from lavis.common.forget_list import read_forget_list
from lavis.common.names import Spellings
from lavis.common.secrets import PURGED
from lavis.datasets.annotations import Entry
from lavis.tables.columns import USUAL, Dropped
from lavis.tables.readers import read_rows
from lavis.tables.sources import find_sources

KEY = "datasets.pairs.forget"


@dataclass(frozen=True)
class Forget:
    """One of three: `where` ({column: its values}), `file` (a list of images), `table` and its column `on`."""

    where: dict[str, tuple[str, ...]] = field(default_factory=dict)
    file: str = ""
    table: str = ""
    on: str = ""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Forget:
        """From the configuration. Raises ConfigError unless it is one of the three."""
        unknown = [key for key in given if key not in ("where", "list", "table", "on")]
        if unknown:
            raise ConfigError(
                f"unknown key '{KEY}.{unknown[0]}'; {suggest(unknown[0], ('where', 'list', 'table', 'on'))}"
            )
        if given and sum(key in given for key in ("where", "list", "table")) != 1:
            raise ConfigError(f"{KEY} takes one of where, list and table, found {', '.join(given)}")
        if "on" in given and "table" not in given:
            raise ConfigError(f"{KEY}.on names a column of {KEY}.table, which is not set")
        where = {str(column): _values(values, column) for column, values in _mapping(given.get("where", {})).items()}
        texts = {key: given.get(key, "") for key in ("list", "table", "on")}
        if not all(isinstance(text, str) for text in texts.values()) or ("where" in given and not where):
            raise ConfigError(
                f"{KEY}: expected where: {{column: values}}, list: file or table: file, found {dict(given)}"
            )
        return cls(where, texts["list"], texts["table"], texts["on"])

    def __str__(self) -> str:
        if self.where:
            return (
                f"{KEY}.where ({'; '.join(f'{column}: {first_few(values)}' for column, values in self.where.items())})"
            )
        return self.file or self.table

    def images(self, entries: Sequence[Entry], dropped: Sequence[Dropped], folder: Path) -> list[str]:
        """The images to forget, each once: in the order of the rows, or of the list. `folder`'s secret keys aliases.

        Raises DataError for a value or image that matches no row, a condition that matches every row, a column that is
        not there, and a dropped row that was to be forgotten.
        """
        return self._where(entries, dropped) if self.where else self._named(entries, dropped, folder)

    def _where(self, entries: Sequence[Entry], dropped: Sequence[Dropped]) -> list[str]:
        known = {column for entry in entries for column in entry.extra}
        for column, values in self.where.items():
            if column not in known:
                raise DataError(f"{KEY}.where: the table has no column '{column}'; {suggest(column, known)}")
            found = {str(entry.extra.get(column)) for entry in entries}
            absent = [value for value in values if value not in found]
            if any(value.startswith(PURGED) for value in absent):
                raise DataError(
                    f"{KEY}.where: this run was purged and no longer says whom it was about; evaluate and audit before "
                    "`multidelete purge`, or name the rows again"
                )
            if absent:
                raise DataError(f"{KEY}.where: no row has {column} '{absent[0]}'; {_closest(absent[0], found)}")
        lost = [row for row in dropped if self._matches(row.facts)]
        if lost:
            raise _unusable([f"{row.place} ({row.reason})" for row in lost])
        images = dict.fromkeys(entry.image for entry in entries if self._matches(entry.extra))
        if images and all(entry.image in images for entry in entries):
            raise DataError(f"{self} matches every row and leaves nothing to retain")
        return list(images)

    def _matches(self, facts: Mapping[str, Any]) -> bool:
        return all(str(facts.get(column)) in values for column, values in self.where.items())

    def _named(self, entries: Sequence[Entry], dropped: Sequence[Dropped], folder: Path) -> list[str]:
        wanted = read_forget_list(self.file) if self.file else self._from_table()
        called = Aliases(wanted, folder)
        known = Spellings(entry.image for entry in entries)
        found = {name: known.find(name, called(name)) for name in wanted}
        unmatched = [name for name, image in found.items() if image is None]
        gone = Spellings(row.image for row in dropped if row.image)
        lost = [name for name in unmatched if gone.find(name) is not None]
        if lost:
            raise _unusable([called(name) for name in lost])
        if unmatched:
            raise DataError(
                f"{self}: {len(unmatched)} of {len(wanted)} images to forget match no training row, the first: "
                f"{first_few([called(name) for name in unmatched[:3]])}; write them as in the table"
            )
        return list(dict.fromkeys(image for image in found.values() if image is not None))

    def _from_table(self) -> list[str]:
        """The images of the other table's column, each once."""
        images: dict[str, None] = {}
        for source in find_sources([self.table], f"{KEY}.table"):
            column = self.on
            for row in read_rows(source):
                column = column or next((name for name in USUAL["image"] if name in row.cells), "")
                if column not in row.cells:
                    raise DataError(
                        f"{row.place}: no column '{column or 'image'}' ({KEY}.on); {suggest(column, row.cells)}"
                    )
                if row.cells[column]:
                    images[str(row.cells[column]).strip()] = None
        if not images:
            raise DataError(f"{KEY}.table: {self.table} names no image; list one per row")
        return list(images)


def _unusable(rows: Sequence[str]) -> DataError:
    return DataError(
        f"{len(rows)} rows to forget cannot be used and would stay remembered, the first: {first_few(rows)}; "
        "repair them, or remove them from the table if the model has never seen them"
    )


def _values(values: Any, column: Any) -> tuple[str, ...]:
    items = values if isinstance(values, list | tuple) else [values]
    if not items or any(item is None or isinstance(item, list | dict) for item in items):
        raise ConfigError(f"{KEY}.where.{column} must be a value or a list of values, found {values!r}")
    return tuple(str(item) for item in items)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{KEY}.where must be a mapping from columns to values, found {value!r}")
    return value


def _closest(value: str, found: set[str]) -> str:
    text = suggest(value, found)
    return text if len(found) <= 20 else text.partition("; valid")[0] + f" ({len(found)} different values)"
