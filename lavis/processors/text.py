"""Text processors turn a caption into what the tokenizer sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lavis.common.registry import registry
from lavis.processors.base import Processor
from lavis.settings.declaration import setting

MARKS = '.!"()*#:;~'
TO_SPACES = str.maketrans(MARKS, " " * len(MARKS))  # BLIP replaces marks by spaces in captions
REMOVED = str.maketrans("", "", MARKS)  # and drops them from questions


@dataclass(frozen=True)
class TextProcessor(Processor):
    """Base class: string to string."""

    kind: ClassVar[str] = "text"

    def __call__(self, caption: str) -> str:
        raise NotImplementedError


@registry.register_processor("clip_caption")
@dataclass(frozen=True)
class ClipCaption(TextProcessor):
    """Leaves the caption as it is, so that e-mail addresses, phone numbers and capitals reach the tokenizer."""

    def __call__(self, caption: str) -> str:
        return caption


@registry.register_processor("blip_caption")
@dataclass(frozen=True)
class BlipCaption(TextProcessor):
    """BLIP's caption processing: lower case, punctuation to spaces, at most `max_words` words, after `prompt`.

    It destroys e-mail addresses and phone numbers. Use it only for data sets whose published models used it.
    """

    prompt: str = setting("", "text put before every caption")
    max_words: int = setting(50, "most words of a caption; the rest is cut off", least=1)

    def __call__(self, caption: str) -> str:
        words = caption.lower().translate(TO_SPACES).split()
        return self.prompt + " ".join(words[: self.max_words])


@registry.register_processor("blip_question")
@dataclass(frozen=True)
class BlipQuestion(TextProcessor):
    """BLIP's question processing: lower case, marks removed (not the question mark), at most `max_words` words."""

    max_words: int = setting(50, "most words of a question; the rest is cut off", least=1)

    def __call__(self, caption: str) -> str:
        return " ".join(caption.lower().translate(REMOVED).split()[: self.max_words])
