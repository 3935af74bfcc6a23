"""What messages call images that are to be forgotten: a row of the forget list and a keyed hash, never a file name.

Whoever has the list can look the row up; a log file that is handed on names nobody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from lavis.common.errors import DataError, UserFault
from lavis.common.names import Spellings
from lavis.common.secrets import keyed_hash, secret_of

HASH_BYTES = 4


class Aliases:
    """`aliases(image)` is how a message calls an image: "forget row 17 (3fa2c41b)", or its own name if it may be said.

    Args:
        images: what is to be forgotten, in the order of the list. folder: its secret keys the hash.
    """

    def __init__(self, images: Iterable[str], folder: Path) -> None:
        self._rows = {image: number for number, image in enumerate(dict.fromkeys(images), start=1)}
        self._spellings, self._folder = Spellings(self._rows), folder

    @classmethod
    def of(cls, read: Callable[[], Iterable[str]], folder: Path) -> Aliases:
        """Of the images that `read` returns; of none if it cannot, which is reported by whatever needs the list."""
        try:
            return cls(read(), folder)
        except UserFault:
            return cls((), folder)

    def __call__(self, image: str) -> str:
        listed = None
        with contextlib.suppress(DataError):  # several of the list, in spellings unlike this one
            listed = self._spellings.find(image)
        return image if listed is None else forget_row(self._rows[listed], listed, self._folder)


def forget_row(number: int, image: str, folder: Path) -> str:
    """The name in messages of an image to forget, by its place in the list, counted from 1."""
    return f"forget row {number} ({short_hash(image, folder)})"


def short_hash(text: str, folder: Path) -> str:
    """Eight hexadecimal digits for a text, keyed by the folder's secret; `multidelete purge` writes the same ones."""
    return keyed_hash(secret_of(folder), text, HASH_BYTES).hex()
