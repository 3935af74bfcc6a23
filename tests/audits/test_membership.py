"""Scores of membership by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lavis.attacks.klom import divergences
from lavis.attacks.lira import scores
from lavis.attacks.rmia import dominance, ratios
from lavis.attacks.u_lira import accuracies
from lavis.audits.behaviour import behaviour
from lavis.audits.membership import percentiles, true_positives
from lavis.salmubench.identity_mrr import CaptionPool


def test_percentiles_are_the_auc():
    from sklearn.metrics import roc_auc_score

    draws = np.random.default_rng(0)
    member, other = draws.integers(0, 9, 40).astype(float), draws.integers(0, 7, 30).astype(float)
    truth = np.repeat([1, 0], [40, 30])
    assert percentiles(member, other).mean() == pytest.approx(roc_auc_score(truth, np.concatenate([member, other])))


def test_true_positives_at_a_rate():
    other = np.arange(100.0)
    # one false alarm of 100 is allowed: the threshold is 98, above which are 99 and 98.5
    assert true_positives(np.array([98.5, 99.5, 50.0, 97.0]), other, 0.01) == 0.5
    assert true_positives(np.array([98.5, 99.5, 50.0, 97.0]), other, 0.001) == 0.25


def test_lira_by_hand():
    few = np.array([[0.0, 2.0], [2.0, 2.0]])
    assert scores(np.array([4.0, 2.0]), few).tolist() == [3.0, 0.0]
    many = np.array([[0.0], [2.0], [0.0], [2.0]])  # mean 1, deviation sqrt(4/3)
    assert scores(np.array([3.0]), many) == pytest.approx(2 / np.sqrt(4 / 3))


def test_rmia_by_hand():
    # p = ½ in the model and in the reference: p̄ = ½(1.3 · ½ + .7) = .675
    assert ratios(np.zeros(1), np.zeros((1, 1)))[0] == pytest.approx(np.log(0.5 / 0.675))
    assert dominance(np.array([0.0, 5.0]), np.array([-1.0, 0.0, 1.0, 2.0])).tolist() == [0.5, 1.0]


def test_u_lira_finds_models_that_differ_and_guesses_about_those_that_do_not():
    draws = np.random.default_rng(0)
    never = draws.normal(0, 1, (6, 500))
    assert accuracies(draws.normal(9, 1, 500), draws.normal(9, 1, (4, 500)), never).mean() > 0.98
    alike = accuracies(draws.normal(0, 1, 500), draws.normal(0, 1, (4, 500)), never).mean()
    assert 0.4 < alike < 0.65


def test_klom_by_hand():
    never = np.array([[0.0, 1.0], [2.0, 3.0]])  # variances 2 and 2
    assert divergences(np.array([[3.0, 2.0]]), never).tolist() == [1.0, 0.0]
    assert divergences(np.array([[1e6, 2.0]]), never)[0] == 12.0


def test_behaviour_by_loops_and_in_a_turned_space():
    draws = np.random.default_rng(0)
    image, text, rivals = draws.normal(size=(4, 8)), draws.normal(size=(4, 8)), draws.normal(size=(6, 8))
    people, captions = ["a", "a", "b", "c"], ["a0", "a1", "b0", "c0"]
    pool = CaptionPool([*captions, "d0", "d1"], [*people, "d", "d"])
    rivals[:4] = text
    found = behaviour([(image, text, people, captions)], pool, rivals, 5.0)
    turn = np.linalg.qr(draws.normal(size=(8, 8)))[0]
    turned = behaviour([(image @ turn, text @ turn, people, captions)], pool, rivals @ turn, 5.0)
    assert np.allclose(found.profile, turned.profile) and np.allclose(found.margin, turned.margin)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (image, text, rivals)]
    own, others = unit[0][0] @ unit[1][0], unit[2][2:] @ unit[0][0]  # all but the person's own two
    p = np.exp(5 * own) / (np.exp(5 * own) + np.exp(5 * others).sum())
    assert found.margin[0] == pytest.approx(np.log(p / (1 - p)))
    assert found.profile[0, 0] == pytest.approx((own - others.mean()) / others.std())
    assert found.profile[0, 2] == pytest.approx(-np.log(1 + (others >= own).sum()))
    assert found.control_profile.shape == (0, 3)
