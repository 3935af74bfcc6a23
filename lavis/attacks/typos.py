"""Typos: two neighbouring letters of the name are swapped, so that its tokens are others than the suppressed ones.

X with c' = c, in which the name has one or two transpositions
"""

from __future__ import annotations

import numpy as np

from lavis.audits.rewording import Reword, Rewording, Said
from lavis.common.registry import registry
from lavis.common.seed import derived_seed


@registry.register_attack("typos")
class Typos(Rewording):
    """Which letters are swapped depends on the name alone."""

    about = "one or two typos in the name, or in the caption if no name is known"
    reference = "Ebrahimi et al., arXiv 1712.06751"
    order = 41

    def wordings(self) -> dict[str, Reword]:
        return {f"{count} swapped": lambda one, count=count: _misspelt(one, count) for count in (1, 2)}


def _misspelt(one: Said, count: int) -> str:
    word = one.name or one.caption
    return one.caption.replace(word, swapped(word, count))


def swapped(word: str, count: int) -> str:
    """The word with `count` pairs of neighbouring letters swapped."""
    letters, draws = list(word), np.random.default_rng(derived_seed("typo", word))
    for place in map(int, draws.permutation(max(0, len(letters) - 1))[:count]):
        letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)
