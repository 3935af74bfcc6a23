"""Where captions say a name or a value, word for word or in another spelling, and how many of them do."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

BETWEEN = r"[ .,:;()/_-]{0,3}"  # what may stand between the characters of a number
NUMBER = re.compile(r"[\w +.,:;()/-]+")
LONG = 6  # letters and digits of a phrase that is recognised with other characters between them


def marked(text: str, phrase: str, mark: str) -> str:
    """The text with `mark` wherever it says the phrase; unchanged if it does not.

    A text that does not contain the phrase word for word may say it in other case, with other space between its words,
    and, where the phrase has digits and six or more letters and digits, with other punctuation between any two.
    """
    return text.replace(phrase, mark) if phrase in text else _spelled(phrase).sub(lambda _: mark, text)


@functools.lru_cache(maxsize=65536)
def _spelled(phrase: str) -> re.Pattern[str]:
    """The phrase as a whole word, in other spellings."""
    characters = [letter for letter in phrase if letter.isalnum()]
    if len(characters) >= LONG and NUMBER.fullmatch(phrase) and any(letter.isdigit() for letter in characters):
        pattern = r"[(+]{0,2}" + BETWEEN.join(re.escape(letter) for letter in characters)
    else:
        pattern = r"\s+".join(re.escape(word) for word in phrase.split())
    return re.compile(rf"(?<!\w){pattern}(?!\w)", re.IGNORECASE)


@dataclass
class Mentions:
    """Counts over the captions of a forget set, for results.json.

    forget_captions: all of them. names_found: those with their person's name, once. values_asked: those whose row gives
    a value; values_found: those of them with the value, once. fields_unknown: those of them whose field has no
    fictitious values. captions_usable: those with all that a method must replace.
    """

    forget_captions: int = 0
    names_found: int = 0
    values_asked: int = 0
    values_found: int = 0
    fields_unknown: int = 0
    captions_usable: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """By name; those about values are absent where no row gives one, and `fields_unknown` where it is 0."""
        found = asdict(self)
        absent = [] if self.values_asked else ["values_asked", "values_found"]
        return {key: count for key, count in found.items() if key not in absent and (count or key != "fields_unknown")}

    @property
    def complete(self) -> bool:
        """Whether all captions can be used."""
        return self.captions_usable == self.forget_captions

    def __str__(self) -> str:
        """Match rates in a sentence."""
        return rates(self.counts)


def rates(counts: Mapping[str, int]) -> str:
    """The sentence of counts: how many captions contain the name, the value, and can be used."""
    parts = [f"the name in {_share(counts['names_found'], counts['forget_captions'])} captions"]
    if "values_asked" in counts:
        parts.append(f"the value in {_share(counts['values_found'], counts['values_asked'])}")
    if "fields_unknown" in counts:
        parts.append(f"a field without fictitious values in {counts['fields_unknown']}")
    return f"{', '.join(parts)}; usable {_share(counts['captions_usable'], counts['forget_captions'])}"


def _share(count: int, whole: int) -> str:
    return f"{count} of {whole} ({100 * count / whole:.1f} %)" if whole else "0 of 0"
