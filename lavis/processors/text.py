"""Text processors: a caption to the caption that the tokenizer sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lavis.common.registry import registry
from lavis.processors.base import Processor
from lavis.settings.declaration import setting

MARKS = '.!"()*#:;~'
STRIPPED = str.maketrans(MARKS, " " * len(MARKS))  # BLIP's recipe for captions turns them into blanks
REMOVED = str.maketrans("", "", MARKS)  # and its recipe for questions drops them


@dataclass(frozen=True)
class TextProcessor(Processor):
    """Base of processors from string to string."""

    kind: ClassVar[str] = "text"

    def __call__(self, caption: str) -> str:
        raise NotImplementedError


@registry.register_processor("clip_caption")
@dataclass(frozen=True)
class ClipCaption(TextProcessor):
    """Leaves the caption alone: e-mail addresses, phone numbers and capitals reach the tokenizer."""

    def __call__(self, caption: str) -> str:
        return caption


@registry.register_processor("blip_caption")
@dataclass(frozen=True)
class BlipCaption(TextProcessor):
    """BLIP's recipe: lower case, punctuation to blanks, at most `max_words` words, after `prompt`.

    It destroys e-mail addresses and phone numbers; kept for the data sets whose published models used it.
    """

    prompt: str = setting("", "what every caption begins with")
    max_words: int = setting(50, "words that are kept", least=1)

    def __call__(self, caption: str) -> str:
        words = caption.lower().translate(STRIPPED).split()
        return self.prompt + " ".join(words[: self.max_words])


@registry.register_processor("blip_question")
@dataclass(frozen=True)
class BlipQuestion(TextProcessor):
    """BLIP's recipe for questions: lower case, punctuation removed (the question mark stays), at most `max_words`."""

    max_words: int = setting(50, "words that are kept", least=1)

    def __call__(self, caption: str) -> str:
        return " ".join(caption.lower().translate(REMOVED).split()[: self.max_words])
