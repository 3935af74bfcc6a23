"""Looks for forgotten texts and embeddings in every file of a folder, inside archives too."""

from __future__ import annotations

import gzip
import html
import json
import re
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import numpy as np

from lavis.deletion.forgotten import Forgotten

WORD = 8  # bytes that are compared at once


class Finder:
    """Finds what identifies forget rows, in whichever way a file spells it."""

    def __init__(self, forgotten: Forgotten) -> None:
        self.forgotten = forgotten
        self.spelled = {spelling: text for text in forgotten.texts for spelling in spellings(text)}

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """Every spelling as whole words, the longest first; None if there are none."""
        words = "|".join(map(re.escape, sorted(self.spelled, key=len, reverse=True)))
        return re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None

    @cached_property
    def _binary(self) -> dict[int, list[bytes]]:
        """Byte strings to look for in binary content, by their first WORD bytes."""
        found: dict[int, list[bytes]] = {}
        for content in (*(text.encode() for text in self.spelled), *self.forgotten.rows):
            if len(content) >= WORD:
                found.setdefault(int.from_bytes(content[:WORD], "little"), []).append(content)
        return found

    def in_text(self, text: str) -> bool:
        return self.pattern is not None and self.pattern.search(text) is not None

    def in_bytes(self, content: bytes) -> bool:
        """Whether a forgotten text, or an embedding that was removed, is in this content."""
        text = as_text(content)
        return self.in_text(text) if text is not None else any(self._hits(content))

    def _hits(self, content: bytes) -> Iterator[bool]:
        starts = np.array(list(self._binary), dtype="<u8")
        for offset in range(min(WORD, max(0, len(content) - WORD + 1))):
            words = np.frombuffer(content, "<u8", (len(content) - offset) // WORD, offset)
            for place in np.flatnonzero(np.isin(words, starts)).tolist():
                position = offset + WORD * place
                yield any(content.startswith(needle, position) for needle in self._binary[int(words[place])])

    def places(self, folder: Path) -> list[str]:
        """The files below a folder, and the members of archives in them, that contain something forgotten."""
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        named = [f"{path.relative_to(folder)} (its name)" for path in files if self.in_text(path.name)]
        found = [
            f"{path.relative_to(folder)}{member}"
            for path in files
            for member, part in parts(path)
            if self.in_bytes(part)
        ]
        return [*named, *found]


def spellings(text: str) -> set[str]:
    """A text as itself, as in JSON, in HTML and in an address."""
    escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return {text, *escaped, html.escape(text), html.escape(text, quote=False), quote(text)}


def as_text(content: bytes) -> str | None:
    """The content as text; None if it is binary."""
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def parts(path: Path) -> Iterator[tuple[str, bytes]]:
    """(": member" or "", content) of a file, decompressed: .pth and .npz are zip archives."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from ((f": {name}", archive.read(name)) for name in archive.namelist())
        return
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        yield ": decompressed", gzip.decompress(content)
    yield "", content
