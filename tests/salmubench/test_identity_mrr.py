from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.errors import DataError
from lavis.salmubench.identity_mrr import CaptionPool, pool_ranks
from tests.salmubench.rows import rows

CAPTIONS = ["ann 1", "ann 2", "bob 1", "ann 1", "eve 1", "shared", "shared"]
OWNERS = ["ann", "ann", "bob", "ann", "eve", "ann", "bob"]


def looped(image, text, captions, owners, pool_text, own):
    """The definition: distinct strings, pessimistic ties."""
    distinct = list(dict.fromkeys(CAPTIONS))
    of = {c: {o for other, o in zip(CAPTIONS, OWNERS, strict=True) if other == c} for c in distinct}
    ranks = []
    for query, true, caption, owner in zip(image, text, captions, owners, strict=True):
        rank = 1
        for other, row in zip(distinct, pool_text, strict=True):
            if other == caption or (not own and owner in of[other]):
                continue
            lead = sum(float(a) * float(b) for a, b in zip(query, row, strict=True)) / np.linalg.norm(query)
            mine = sum(float(a) * float(b) for a, b in zip(query, true, strict=True)) / np.linalg.norm(query)
            rank += lead / np.linalg.norm(row) >= mine / np.linalg.norm(true) - 1e-9
        ranks.append(rank)
    return ranks


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), own=st.booleans(), coarse=st.booleans())
def test_agrees_with_loops_ties_included(seed, own, coarse):
    pool = CaptionPool(CAPTIONS, OWNERS)
    assert pool.texts == ["ann 1", "ann 2", "bob 1", "eve 1", "shared"]
    others = rows(5, 2, seed)
    image = rows(4, 2, seed + 1)
    if coarse:  # few distinct directions: many ties
        others, image = np.sign(others), np.sign(image)
        others[0], image[0] = (1, -1), (-1, 1)
        others[1] = (1, 1)
        image[1] = (1, 1)
    captions, owners = ["ann 1", "bob 1", "shared", "eve 1"], ["ann", "bob", "bob", "eve"]
    text = others[[pool.number[c] for c in captions]]
    if np.ptp(text, axis=0).max() < 1e-6 or np.ptp(image, axis=0).max() < 1e-6:
        return
    expected = looped(image, text, captions, owners, others, own)
    ranks = pool_ranks(image, text, captions, owners, pool, others)
    assert (ranks.among if own else ranks.apart).tolist() == expected


def test_by_hand():
    pool = CaptionPool(["a", "a2", "b"], ["ann", "ann", "bob"])
    others = np.array([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0]])
    image = np.array([[1.0, 0.0], [0.0, 1.0]])
    query = (image, others[[0, 2]], ["a", "b"], ["ann", "bob"], pool, others)
    ranks = pool_ranks(*query)
    assert ranks.among.tolist() == [2, 1]
    assert ranks.apart.tolist() == [1, 1]


def test_broken_embeddings_get_no_rank():
    pool = CaptionPool(["a", "b"], ["ann", "bob"])
    good = np.array([[1.0, 0.0], [0.0, 1.0]])
    for bad in (np.ones((2, 2)), np.full((2, 2), np.nan)):
        with pytest.raises(DataError, match="equal|not finite"):
            pool_ranks(bad, good, ["a", "b"], ["ann", "bob"], pool, good)
        with pytest.raises(DataError, match="equal|not finite"):
            pool_ranks(good, good, ["a", "b"], ["ann", "bob"], pool, bad)
    with pytest.raises(ValueError, match="2 captions, got 1 rows"):
        pool_ranks(good, good, ["a", "b"], ["ann", "bob"], pool, good[:1])
    alone = CaptionPool(["a", "b"], ["ann", "ann"])
    with pytest.raises(DataError, match="no other person's caption"):
        pool_ranks(good, good, ["a", "b"], ["ann", "ann"], alone, good)
