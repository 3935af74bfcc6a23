"""Hand-computed values of every term, and the direction in which each pulls."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavis.common.features import PairFeatures
from lavis.losses.contrastive import contrastive_loss
from lavis.losses.terms import multimodal_mse, similarity_mse, similarity_to_zero, unimodal_mse
from lavis.trainers.delete import delete_terms
from lavis.trainers.erase import erase_terms
from lavis.trainers.vlul import vlul_terms
from tests.trainers.methods import X, Y, leaf_pairs, moved, pairs


def test_similarity_of_crossed_pairs_to_zero():
    """Images x, y and captions x, x: S = [[1, 1], [0, 0]], mean of squares 2/4, both directions: 1."""
    assert similarity_to_zero(pairs([X, Y], [X, X]).similarity).item() == pytest.approx(1.0, abs=1e-12)


def test_similarity_mse_counts_both_directions():
    """S = identity against S* = 0.5 everywhere: every entry differs by ½, (½)² twice is ½."""
    half = torch.full((2, 2), 0.5, dtype=torch.float64)
    assert similarity_mse(torch.eye(2, dtype=torch.float64), half).item() == pytest.approx(0.5, abs=1e-12)


def test_unimodal_mse_is_a_mean_over_entries():
    """Images swap two unit vectors: 4 of 4 entries differ by 1, mean 1; captions are equal, 0."""
    assert unimodal_mse(pairs([X, Y], [X, X]), pairs([Y, X], [X, X])).item() == pytest.approx(1.0, abs=1e-12)


def test_joint_of_a_pair_is_the_normalised_mean():
    """(x + y)/2 normalised is (1/√2, 1/√2)."""
    joint = pairs([X], [Y]).joint
    assert joint.tolist()[0] == pytest.approx([1 / math.sqrt(2)] * 2, abs=1e-12)


def test_multimodal_mse_by_hand():
    """m' = x, m = (1/√2, 1/√2): ((1 − 1/√2)² + ½)/2."""
    expected = ((1 - 1 / math.sqrt(2)) ** 2 + 0.5) / 2
    assert multimodal_mse(pairs([X], [X]), pairs([X], [Y])).item() == pytest.approx(expected, abs=1e-12)


def test_contrastive_by_hand():
    """Scale ln 3 and S = identity: each row is (3, 1)/4, so the loss is −ln ¾."""
    loss = contrastive_loss(pairs([X, Y], [X, Y]), torch.tensor(math.log(3.0), dtype=torch.float64))
    assert loss.item() == pytest.approx(-math.log(0.75), abs=1e-12)


def test_equal_captions_share_the_target():
    """Two images with one caption: equal logits, target ½ each, loss ln 2, and no gradient separates them."""
    image = torch.tensor([X, Y], dtype=torch.float64, requires_grad=True)
    text = torch.tensor([[1.0, 1.0]] * 2, dtype=torch.float64)
    loss = contrastive_loss(PairFeatures(image, text), torch.tensor(1.0, dtype=torch.float64), torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), abs=1e-12)
    assert image.grad.abs().max().item() < 1e-12


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_forget_terms_shrink_similarity(seed):
    student, leaves = leaf_pairs(seed)
    other, _ = leaf_pairs(seed + 1)
    before = student.similarity.square().mean()
    for terms in (erase_terms(student, other, other), delete_terms(student, other, other)):
        after = PairFeatures(*moved(terms["forget"], leaves)).similarity.square().mean()
        assert after < before


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_retain_terms_pull_towards_the_teacher(seed):
    student, leaves = leaf_pairs(seed)
    teacher, _ = leaf_pairs(seed + 1)
    distance = unimodal_mse(student, teacher)
    terms = {**vlul_terms(student, student, teacher, teacher), **erase_terms(student, student, teacher)}
    assert unimodal_mse(PairFeatures(*moved(terms["uni"], leaves)), teacher) < distance
    assert unimodal_mse(PairFeatures(*moved(terms["consist"], leaves)), teacher) < distance
    gap = (student.similarity - teacher.similarity).square().mean()
    for name in ("md", "retain"):
        after = PairFeatures(*moved(terms[name], leaves))
        assert (after.similarity - teacher.similarity).square().mean() < gap


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_student_equal_to_its_teacher_has_no_retain_loss(seed):
    same, _ = leaf_pairs(seed)
    terms = {**vlul_terms(same, same, same, same), **erase_terms(same, same, same)}
    for name in ("md", "multi", "uni", "retain", "consist"):
        assert terms[name].item() < 1e-20
