"""Names that recur: first and last names dealt from small stocks, so that no token belongs to one person alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lavis.common.seed import derived_seed
from lavis.synthetic.mini.personas import make_personas

ENOUGH = 12  # personas to draw per name of a stock; first names repeat among them
Stock = tuple[list[str], list[str]]  # first names, last names


def stock_of(count: int, seed: int) -> Stock:
    """`count` distinct first names and as many last names."""
    words = [who["name"].split() for who in make_personas(ENOUGH * count, derived_seed(seed, "stock") % 2**31)]
    parts = [list(dict.fromkeys(name[place] for name in words))[:count] for place in (0, 1)]
    assert len(parts[0]) == len(parts[1]) == count, "too few distinct names were drawn"
    return parts[0], parts[1]


def share_names(people: Mapping[str, dict[str, Any]], stock: Stock) -> None:
    """Rename people, in place: holdouts first, so that each name of the stock belongs to somebody who is retained.

    Each has a "kind". No two get the same full name. There must be at most as many as pairs of the stock's names.
    """
    firsts, lasts = stock
    count = len(firsts)
    assert len(people) <= count**2, f"{count} first and last names cannot name {len(people)} people"
    order = sorted(people.values(), key=lambda who: who["kind"] != "holdout")
    for number, who in enumerate(order):
        who["name"] = f"{firsts[number % count]} {lasts[(number + number // count) % count]}"


def half_shared(personas: Sequence[dict[str, Any]], stock: Stock, taken: frozenset[str]) -> None:
    """Give each persona in turn a first or a last name of the stock, in place, unless the full name is taken."""
    firsts, lasts = stock
    used = set(taken)
    for number, who in enumerate(personas):
        first, last = who["name"].split()
        pick = number // 2
        name = f"{first} {lasts[pick % len(lasts)]}" if number % 2 else f"{firsts[pick % len(firsts)]} {last}"
        who["name"] = who["name"] if name in used else name
        used.add(who["name"])
