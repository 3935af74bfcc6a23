"""Digests of splits, by which results are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lavis.common.files import key_of
from lavis.datasets.annotations import Entry

BYTES = 8


def split_digests(splits: Mapping[str, Sequence[Entry]]) -> dict[str, str]:
    """A hash of every split's images, captions, and labels or answers, in order."""
    return {split: key_of([_measured(entry) for entry in entries], BYTES) for split, entries in splits.items()}


def _measured(entry: Entry) -> tuple[Any, ...]:
    """What the metrics of a row depend on; of pairs as ever, so that older results are recognised."""
    truths = [entry.extra[key] for key in ("label", "given") if key in entry.extra]
    return entry.images, entry.captions, *truths
