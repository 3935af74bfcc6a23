"""Different spellings of one file name: "./a.jpg", another case, composed and decomposed accents."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable

from lavis.common.errors import DataError


def folded(name: str) -> str:
    """What all spellings of a path have in common."""
    return posixpath.normpath(unicodedata.normalize("NFC", name.replace("\\", "/"))).casefold()


class Spellings:
    """Finds a name among known ones, as it is or in another spelling."""

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = dict.fromkeys(names)
        self._folded: dict[str, list[str]] = {}
        for name in self._exact:
            self._folded.setdefault(folded(name), []).append(name)

    def find(self, name: str) -> str | None:
        """The known name, None if there is none. Raises DataError if several differ only in their spelling."""
        if name in self._exact:
            return name
        similar = self._folded.get(folded(name), [])
        if len(similar) > 1:
            raise DataError(
                f"'{name}' could be any of {', '.join(map(repr, similar))}; write it exactly as one of them"
            )
        return similar[0] if similar else None

    def groups(self) -> list[list[str]]:
        """The names that differ only in their spelling, group by group."""
        return [names for names in self._folded.values() if len(names) > 1]
