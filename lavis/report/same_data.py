"""Which results were measured on the same data, by the digests that results.json carries.

Numbers of unlike data do not belong into one table: a forget list that was swapped changes every one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lavis.common.secrets import agree
from lavis.report.numbers import Row, by_setting

T = TypeVar("T")
Data = Mapping[str, Any]  # {"dataset": name, "splits": {split: digest}, "images": {split: digest}}


def differing(one: Data, other: Data) -> list[str]:
    """What two evaluations that share a split measured it on other data: "df", "images of test", "dataset".

    Older results say nothing of their data, or nothing of the images, and differ from none; nor do purged digests.
    """
    found = ["data set"] if one.get("dataset", other.get("dataset")) != other.get("dataset", one.get("dataset")) else []
    for part, words in (("splits", ""), ("images", "images of ")):
        here, there = one.get(part) or {}, other.get(part) or {}
        found += [f"{words}{name}" for name in here if name in there and not agree(here[name], there[name])]
    return found


def groups(items: Sequence[T], data_of: Callable[[T], Data]) -> list[list[T]]:
    """The items in groups of equal data, the largest first, in order within each and among equals."""
    found: list[list[T]] = []
    for item in items:
        home = next((group for group in found if not _differs(item, group, data_of)), None)
        if home is None:
            found.append([item])
        else:
            home.append(item)
    return sorted(found, key=len, reverse=True)


def _differs(item: T, group: Sequence[T], data_of: Callable[[T], Data]) -> bool:
    return any(differing(data_of(item), data_of(other)) for other in group)


def comparable(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows that can stand in one table of their setting, and a sentence about each that cannot.

    Of a setting the rows stay that most others agree with.
    """
    left_out: dict[int, str] = {}
    for setting in by_setting(rows).values():
        first, *others = groups(setting, _data)
        for row in (row for group in others for row in group):
            unlike = Counter(what for other in first for what in differing(_data(row), _data(other)))
            left_out[id(row)] = (
                f"{row['name']} is omitted: the results in {row['folder']} were measured on other data than those of "
                f"{first[0]['name']} ({', '.join(unlike)} differ); evaluate it again"
            )
    return [row for row in rows if id(row) not in left_out], list(left_out.values())


def _data(row: Row) -> Data:
    return row.get("data") or {}
