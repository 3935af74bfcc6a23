"""What identifies the forget rows: their captions, images, and what only they say about their people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import torch

from lavis.common.secrets import keyed_hash
from lavis.datasets.annotations import Entry
from lavis.datasets.builder import PairBuilder
from lavis.deletion.conditions import condition_values

GENERAL = ("split", "source", "field", "kind", "label")  # fields of a row that say nothing about a person
LEAST = 3  # characters: shorter values are found everywhere
CODE = re.compile(r"[^\W\d_]\d|\d[^\W\d_]")  # as in p3: no word, and no number
ROW_BYTES = 32  # of an embedding; eight equal numbers in a row are no coincidence


@dataclass(frozen=True)
class Forgotten:
    """`texts` to look for, the longest first, and the first ROW_BYTES of embeddings that were removed.

    conditions: the values of forget.where. unsought: those of them, and other values, that are found everywhere.
    """

    texts: tuple[str, ...] = ()
    rows: set[bytes] = field(default_factory=set)
    conditions: frozenset[str] = frozenset()
    unsought: frozenset[str] = frozenset()

    def remember(self, removed: Iterable[torch.Tensor], kept: Iterable[torch.Tensor] = ()) -> None:
        """Look for these embeddings (D,) from now on, except for those that equal a row that stays."""
        self.rows.update({_beginning(row) for row in removed} - {_beginning(row) for row in kept} - {bytes(ROW_BYTES)})


def _beginning(row: torch.Tensor) -> bytes:
    return row[: ROW_BYTES // 4].contiguous().numpy().tobytes()


def forgotten_of(builder: PairBuilder) -> Forgotten:
    """The texts of a builder's forget rows. Raises the builder's errors, if the data are not there any more."""
    parts = builder.partition()
    own = {text for entry in parts.df for text in (*entry.captions, *entry.images, *_file_names(entry))}
    shared = {value for entry in retained(builder) for value in _values(entry)}
    own |= {value for entry in parts.df for value in _values(entry)} - shared
    conditions = frozenset(condition_values(builder))
    texts = {text for text in own if len(text) >= LEAST or (text in conditions and CODE.fullmatch(text))}
    unsought = (own | conditions) - texts
    return Forgotten(tuple(sorted(texts, key=len, reverse=True)), conditions=conditions, unsought=frozenset(unsought))


def retained(builder: PairBuilder) -> list[Entry]:
    """Every known entry that is not to be forgotten: of training, and of the evaluated splits."""
    parts = builder.partition()
    gone = {image for entry in parts.df for image in entry.images}
    others = [entry for name, part in builder.evaluation_entries().items() if name != "df" for entry in part]
    return [entry for entry in (*parts.dr, *others) if gone.isdisjoint(entry.images)]


def row_hashes(entries: Sequence[Entry], secret: bytes) -> list[str]:
    """A keyed hash of each row's images and captions, sorted, so that their order says nothing."""
    return sorted(keyed_hash(secret, repr((entry.images, entry.captions))).hex() for entry in entries)


def _file_names(entry: Entry) -> list[str]:
    return [PurePosixPath(image).name for image in entry.images]


def _values(entry: Entry) -> set[str]:
    """The other texts of a row. Numbers are left out: a run's files are full of them."""
    facts: dict[str, Any] = {**entry.extra, "image_id": entry.image_id}
    texts = [str(value) for key, value in facts.items() if key not in GENERAL and isinstance(value, str)]
    return {text for text in texts if re.search(r"[^\W\d]", text)}
