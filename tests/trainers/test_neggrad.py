"""Negative gradient: the loss is minus the original objective, which therefore rises on Df."""

from __future__ import annotations

import pytest
import torch

from lavis.common.features import PairFeatures
from lavis.losses.contrastive import contrastive_loss
from lavis.trainers.neggrad import neggrad_terms
from tests.trainers.methods import LN3, leaf_pairs, log_records, moved, stepped_trainer


def test_terms_by_hand():
    """The parts of an objective are summed and negated; if there are several, they are returned as well."""
    one, two = torch.tensor(2.0), torch.tensor(0.5)
    assert neggrad_terms({"ce": one}) == {"forget": -2.0}
    assert neggrad_terms({"itc": one, "itm": two}) == {"forget": -2.5, "itc": 2.0, "itm": 0.5}


@pytest.mark.parametrize("seed", range(5))
def test_a_step_down_its_gradient_raises_the_original_loss(seed):
    student, leaves = leaf_pairs(seed)
    after = PairFeatures(*moved(neggrad_terms({"contrastive": contrastive_loss(student, LN3)})["forget"], leaves))
    assert contrastive_loss(after, LN3) > contrastive_loss(student, LN3)


def test_the_trainer_negates_the_loss_of_the_forget_batch():
    subject, batch = stepped_trainer("neggrad", method_args={"share_equal": False})
    total, _ = subject.loss(batch)
    expected = contrastive_loss(subject.model(batch.sets["df"]), subject.scale)
    assert total.item() == pytest.approx(-expected.item(), abs=1e-6)


def test_the_original_loss_on_df_rises_while_training(unlearn):
    folder = unlearn("neggrad", "run.evaluate_after=false", "run.max_epoch=4", "run.init_lr=1e-3")
    losses = [-record["train_forget"] for record in log_records(folder)[1:5]]
    assert losses == sorted(losses) and losses[-1] > losses[0] + 0.1
