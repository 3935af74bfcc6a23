"""VQA accuracy as VQA v2 defines it (arXiv 1505.00468, section 5; arXiv 1612.00837; visualqa.org/evaluation).

An answer that n of the other people gave scores min(n / 3, 1), averaged over leaving out each of the ten people.
Answers are compared after `normalise_answer`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

DIGITS = "zero one two three four five six seven eight nine ten".split()
NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(DIGITS)}
ARTICLES = frozenset({"a", "an", "the"})
MARKS = ';/[]"{}()=+\\_-><@`,?!'
CONTRACTED = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't "
    "he'd he'd've he's how'd how'll how's i'd've isn't it'd it'd've it'll ma'am mightn't mightn't've might've "
    "mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've "
    "somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd "
    "something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're "
    "they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've "
    "who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll "
    "y'all'd've you'd you'd've you'll you're you've"
).split()
CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in CONTRACTED
    for place, character in enumerate(word)
    if character == "'"
}  # spellings that lack one apostrophe

_DIGITS_COMMA = re.compile(r"\d,\d")
_STOP = re.compile(r"\.(?!\d)")


@lru_cache(maxsize=65536)
def normalise_answer(answer: str) -> str:
    """The answer in the form for comparison: lower case, no punctuation or articles, digits, apostrophes restored.

    A punctuation mark is dropped if the answer has it next to a blank, or has a comma between digits; else it becomes a
    blank. Apostrophes and colons stay; full stops are dropped unless a digit follows.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    words = [NUMBERS.get(word, word) for word in _without_marks(text).lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def _without_marks(text: str) -> str:
    thousands = _DIGITS_COMMA.search(text) is not None
    result = text
    for mark in MARKS:
        by_blank = f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if by_blank or thousands else " ")
    return _STOP.sub("", result)


def question_accuracy(prediction: str, given: Sequence[str], rule: str = "paper") -> float:
    """Accuracy in [0, 1] of a predicted answer against people's answers (ten in VQA v2). Raises ValueError if none.

    rule: "paper" normalises every answer. "official" does as the published script: where all people give one and the
    same string, theirs is not normalised, so that a unanimous "none", "the beach" or "t-shirt" can never be matched.
    """
    if not given:
        raise ValueError("a question without answers cannot be scored")
    if rule == "official" and len(given) > 1 and len(set(given)) == 1:
        return float(normalise_answer(prediction) == given[0])
    if len(given) == 1:
        return float(normalise_answer(prediction) == normalise_answer(given[0]))
    wanted = normalise_answer(prediction)
    hits = [normalise_answer(answer) == wanted for answer in given]
    total = sum(hits)
    return sum(min((total - hit) / 3, 1.0) for hit in hits) / len(hits)
