"""Different spellings of one file name: "./a.jpg", another case, composed and decomposed accents."""

from __future__ import annotations

import functools
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

    def find(self, name: str, called: str = "") -> str | None:
        """The known name, None if there is none. Raises DataError if several differ only in their spelling.

        called: what the message calls the name, if it must not be said.
        """
        if name in self._exact:
            return name
        similar = self._by_folded.get(folded(name), [])
        if len(similar) > 1:
            raise DataError(
                f"{called or repr(name)} could be any of {len(similar)} names that differ in their spelling alone; "
                "write it exactly as it is meant"
            )
        return similar[0] if similar else None

    @functools.cached_property
    def _by_folded(self) -> dict[str, list[str]]:
        """All names by what their spellings have in common; most tables need none of it."""
        groups: dict[str, list[str]] = {}
        for name in self._exact:
            groups.setdefault(folded(name), []).append(name)
        return groups
