"""Captions that are longer than the text tower reads. The tower cuts them silently, and the private part may be cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from lavis.common.errors import DataError
from lavis.datasets.annotations import Entry
from lavis.datasets.mapped import long_captions
from lavis.models.base import BaseModel


class CaptionLimit:
    """What run.long_captions asks for; counts what it has seen.

    Args:
        policy: warn (the rest of a long caption is cut off, and counted), stop (DataError), or split (training captions
            become several of the same image, at word borders, each within the limit).
    """

    def __init__(self, model: BaseModel, policy: str) -> None:
        self.model, self.policy = model, policy
        self.limit = model.recipe.context_length or 0
        self.counts: dict[str, int] = {}  # every long caption with its number of tokens

    def training(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The entries to train on. Raises DataError (stop)."""
        known = self.long(entries)
        if not known or self.policy != "split":
            return entries
        pieces = {caption: self.pieces(caption) for caption in known}
        return [
            dataclasses.replace(e, captions=tuple(part for text in e.captions for part in pieces.get(text, [text])))
            for e in entries
        ]

    def long(self, entries: Iterable[Entry]) -> set[str]:
        """The captions of these entries beyond the limit. Raises DataError (stop)."""
        # A token is a byte at least: captions that are short in bytes need no tokenizer
        candidates = list(dict.fromkeys(long_captions(entries, self.limit - 2))) if self.limit else []
        found = {text: n for text, n in zip(candidates, self._tokens(candidates), strict=True) if n > self.limit}
        self.counts |= found
        if found and self.policy == "stop":
            raise DataError(f"{self.notice()}; shorten them, or set run.long_captions=split or warn")
        return set(found)

    @property
    def counted(self) -> dict[str, int]:
        """The number of long captions, for results.json; empty if there are none."""
        return {"long_captions": len(self.counts)} if self.counts else {}

    def notices(self) -> list[str]:
        """The sentence for the end of a run, if there are long captions."""
        return [self.notice()] if self.counts else []

    def notice(self) -> str:
        """How many captions are too long, and how much is cut off the first; no text is quoted."""
        text, count = next(iter(self.counts.items()))
        return (
            f"{len(self.counts)} captions have more than the {self.limit} tokens that the model reads; of the first "
            f"({count} tokens) it reads {len(self.pieces(text)[0])} of {len(text)} characters"
        )

    def pieces(self, caption: str) -> list[str]:
        """The caption in parts within the limit, as few as possible, cut between words where they fit."""
        parts: list[str] = []
        for word in self._words(caption):
            longer = f"{parts[-1]} {word}" if parts else word
            if parts and self._fits(longer):
                parts[-1] = longer
            else:
                parts.append(word)
        return parts

    def _words(self, caption: str) -> list[str]:
        """The words, those that are too long themselves in halves."""
        words = list[str]()
        for word in caption.split():
            half = len(word) // 2
            words += [word] if self._fits(word) or not half else self._words(f"{word[:half]} {word[half:]}")
        return words

    def _fits(self, text: str) -> bool:
        return self._tokens([text])[0] <= self.limit

    def _tokens(self, captions: Sequence[str]) -> list[int]:
        return self.model.token_counts(list(captions)) if captions else []
