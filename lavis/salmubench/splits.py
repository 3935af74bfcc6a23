"""The splits that SALMUBench derives from annotations and metadata files, and the texts of its probes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lavis.common.errors import DataError
from lavis.datasets.annotations import Entry
from lavis.importing.salmu_metadata import FRAGILE, IDENTITIES


@dataclass(frozen=True)
class DerivedSplits:
    """Splits derived from others, in the order of their entries.

    retain_joint: retain_synth's rows of people in forget; retain_disjoint: its rows without identity; fragile_set:
    retain_disjoint's rows in the metadata file; forget_identity: forget's rows of people not in holdout_association.
    """

    retain_joint: list[Entry]
    retain_disjoint: list[Entry]
    fragile_set: list[Entry]
    forget_identity: list[Entry]


def derive_splits(
    forget: Sequence[Entry], association: Sequence[Entry], retain: Sequence[Entry], fragile: Collection[str]
) -> DerivedSplits:
    """Derive them from forget, holdout_association, retain_synth and the file names of fragile_set_ids.json.

    Raises DataError if a forget or holdout row has no identity_id, or if no fragile name is a row of retain_disjoint.
    """
    people = {identity_of(entry, "forget") for entry in forget}
    held = {identity_of(entry, "holdout_association") for entry in association}
    nobody = [entry for entry in retain if entry.extra.get("identity_id") is None]
    named = frozenset(fragile)
    rare = [entry for entry in nobody if file_name(entry) in named]
    if fragile and nobody and not rare:
        raise DataError(
            f"{FRAGILE}: none of its {len(fragile)} file names is an image of retain_synth without identity; "
            "the metadata file belongs to another data set"
        )
    return DerivedSplits(
        retain_joint=[entry for entry in retain if _identity(entry) in people],
        retain_disjoint=nobody,
        fragile_set=rare,
        forget_identity=[entry for entry in forget if _identity(entry) not in held],
    )


def whole_and_partial(df: Sequence[Entry], sensitive: Sequence[Entry]) -> tuple[list[int], list[int]]:
    """Rows of Df whose identity is *whole* (all its sensitive images are in Df), and *partial* (only some are).

    sensitive: the rows of forget and holdout_association. Raises DataError for a row without identity_id.
    """
    forgotten = {entry.image for entry in df}
    remaining = {identity_of(entry, "sensitive") for entry in sensitive if entry.image not in forgotten}
    owners = [identity_of(entry, "df") for entry in df]
    whole = [row for row, owner in enumerate(owners) if owner not in remaining]
    return whole, [row for row, owner in enumerate(owners) if owner in remaining]


def identity_of(entry: Entry, split: str) -> str:
    """The identity_id of an entry. Raises DataError if it has none."""
    identity = _identity(entry)
    if identity is None:
        raise DataError(f"split '{split}': a row has no 'identity_id'; SALMUBench needs one on every such row")
    return identity


def file_name(entry: Entry) -> str:
    """The last part of the image's path, which the metadata files use."""
    return PurePosixPath(entry.image).name


def name_of(entry: Entry, people: Mapping[str, Mapping[str, Any]], split: str = "forget") -> str:
    """The name of the entry's person. Raises DataError if the metadata file lacks the identity."""
    identity = identity_of(entry, split)
    if identity not in people:
        raise DataError(f"{IDENTITIES} has no identity '{identity}'; it belongs to another data set")
    return str(people[identity]["name"])


def core_texts(entry: Entry, people: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """CoreAssoc's texts of a forget entry, "{name} {value}" and "{value} {name}". Raises DataError without a value."""
    name, value = name_of(entry, people), entry.extra.get("value")
    if value is None or not str(value).strip():
        who = identity_of(entry, "forget")
        raise DataError(f"split 'forget': a row of {who} has no 'value'; import the data with its metadata files")
    return f"{name} {value}", f"{value} {name}"


def _identity(entry: Entry) -> str | None:
    identity = entry.extra.get("identity_id")
    return None if identity is None else str(identity)
