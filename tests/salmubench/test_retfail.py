from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.errors import ConfigError, DataError
from lavis.salmubench.retfail import NOBODY, Distractors, draw_distractors, retfail_ranks
from tests.salmubench.rows import cosine, rows


def brute(image, text, keys, drawn, drop_equal=True, ties="pessimistic", owners=None):
    """Ranks by loops over rounded cosines."""
    ranks = []
    for i in range(len(image)):
        own, above, tied = round(cosine(image[i], text[i]), 8), 0, 0
        for j in range(len(drawn.keys)):
            if drop_equal and drawn.keys[j] == keys[i]:
                continue
            if owners is not None and owners[i] == drawn.identity[j] != NOBODY:
                continue
            score = round(cosine(image[i], drawn.text[j]), 8)
            above, tied = above + (score > own), tied + (score == own)
        ranks.append(1 + above + {"pessimistic": tied, "mean": tied / 2, "optimistic": 0}[ties])
    return np.array(ranks)


def world(n=24, k=15, seed=0):
    """Forget pairs of 6 people; three texts of one embedding, two of them the same string."""
    keys = np.arange(n)
    text = rows(n, seed=seed + 1)
    text[3], text[7] = text[4], text[4]
    keys[7] = keys[4]
    owners = np.arange(n) % 6
    return rows(n, seed=seed), text, keys, owners, rows(k, seed=seed + 2), np.arange(100, 100 + k)


@pytest.mark.parametrize("ties", ["pessimistic", "mean", "optimistic"])
@pytest.mark.parametrize("drop_equal", [True, False])
@pytest.mark.parametrize("own_left_out", [False, True])
def test_ranks_agree_with_loops(ties, drop_equal, own_left_out):
    image, text, keys, owners, disjoint, disjoint_keys = world()
    drawn = draw_distractors(text, keys, owners, disjoint, disjoint_keys, count=17)
    left = owners if own_left_out else None
    ranks = retfail_ranks(image, text, keys, drawn, drop_equal=drop_equal, ties=ties, leave_out=left)
    expected = brute(image, text, keys, drawn, drop_equal, ties, left)
    np.testing.assert_allclose(ranks, expected, atol=1e-6)


def test_equal_embeddings_tie_exactly():
    image, text, keys, owners, disjoint, disjoint_keys = world()
    drawn = draw_distractors(text, keys, owners, disjoint, disjoint_keys)
    low, high = (retfail_ranks(image, text, keys, drawn, ties=ties) for ties in ("optimistic", "pessimistic"))
    assert (high - low)[[3, 4, 7]].tolist() == [2, 1, 1]
    assert (high - low).sum() == 4


def test_the_draw_is_fixed_by_its_seed_and_by_nothing_else():
    image, text, keys, owners, disjoint, disjoint_keys = world(n=300, k=200)
    arguments = (text, keys, owners, disjoint, disjoint_keys)
    first = draw_distractors(*arguments, count=50)
    np.random.default_rng().normal(size=9)
    np.random.random(5)
    second = draw_distractors(*arguments, count=50)
    assert (first.text == second.text).all() and (first.keys == second.keys).all()
    assert len(first.keys) == 100 and len(set(first.keys[50:])) == 50
    assert (first.identity[50:] == NOBODY).all() and set(first.keys[50:]) <= set(disjoint_keys)
    ranks = [retfail_ranks(image, text, keys, drawn) for drawn in (first, second)]
    np.testing.assert_array_equal(*ranks)
    assert not np.array_equal(draw_distractors(*arguments, count=50, seed=43).text, first.text)


def test_a_thousand_of_each_by_default():
    drawn = draw_distractors(rows(1200), np.arange(1200), np.zeros(1200, int), rows(1100), np.arange(2000, 3100))
    assert (drawn.keys < 1200).sum() == (drawn.keys >= 2000).sum() == 1000


def test_perfect_memory_and_none():
    text = np.eye(6)
    drawn = draw_distractors(text, np.arange(6), np.arange(6), rows(4, 6), np.arange(10, 14))
    assert (retfail_ranks(text, text, np.arange(6), drawn) == 1).all()
    assert (retfail_ranks(-text, text, np.arange(6), drawn) > 1).all()


def test_collapsed_or_broken_models_do_not_pass_for_forgetful_ones():
    image, text, keys, owners, disjoint, disjoint_keys = world()
    drawn = draw_distractors(text, keys, owners, disjoint, disjoint_keys)
    for bad_image, bad_text in ((np.ones_like(image), text), (image, np.ones_like(text)), (image * np.nan, text)):
        with pytest.raises(DataError, match="equal|not finite"):
            retfail_ranks(bad_image, bad_text, keys, drawn)
    with pytest.raises(DataError, match="are equal"):
        draw_distractors(np.ones((5, 3)), np.arange(5), np.arange(5), rows(4, 3), np.arange(4))


def test_errors():
    image, text, keys, *_ = world()
    alone = Distractors(text[:1] / np.linalg.norm(text[0]), keys[:1], np.zeros(1, int))
    with pytest.raises(DataError, match="no text to compete with"):
        retfail_ranks(image, text, keys, alone)
    with pytest.raises(ConfigError, match="ties is 'fair'"):
        retfail_ranks(image, text, keys, alone, ties="fair")


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_leaving_rivals_out_never_worsens_a_rank(seed):
    image, text, keys, owners, disjoint, disjoint_keys = world(seed=seed)
    drawn = draw_distractors(text, keys, owners, disjoint, disjoint_keys, seed=seed)
    every = retfail_ranks(image, text, keys, drawn, drop_equal=False)
    distinct = retfail_ranks(image, text, keys, drawn)
    others = retfail_ranks(image, text, keys, drawn, leave_out=owners)
    assert (others <= distinct).all() and (distinct <= every).all() and (others >= 1).all()
