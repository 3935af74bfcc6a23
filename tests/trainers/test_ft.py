"""Fine-tuning: the original objective on the retain batch, for as many steps as every other method."""

from __future__ import annotations

import pytest
import torch

from lavis.losses.contrastive import contrastive_loss
from tests.trainers.methods import log_records, stepped_trainer, steps_taken


def test_the_loss_is_the_original_objective_on_the_retain_batch():
    subject, batch = stepped_trainer("ft", method_args={"share_equal": False})
    total, terms = subject.loss(batch)
    expected = contrastive_loss(subject.model(batch.sets["dr"]), subject.scale)
    assert total.item() == terms["retain"].item() == pytest.approx(expected.item(), abs=1e-6)


def test_equal_captions_are_not_negatives_of_each_other():
    """All four captions of the batch are "a", so that no row is a wrong answer to another."""
    subject, batch = stepped_trainer("ft")
    groups = torch.zeros(4, dtype=torch.int64)
    expected = contrastive_loss(subject.model(batch.sets["dr"]), subject.scale, groups)
    assert subject.loss(batch)[0].item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_forget_batch_is_not_embedded():
    subject, batch = stepped_trainer("ft")
    rows = []
    subject.model.text.register_forward_hook(lambda module, given, out: rows.append(len(given[0])))
    total, terms = subject.loss(batch)
    assert rows == [4] and set(terms) == {"retain"} and torch.isfinite(total)


def test_an_epoch_is_a_pass_over_df(unlearn):
    """16 forget images in halves of 4 are 4 steps, though Dr has 24 images; there are two epochs."""
    folder = unlearn("ft", "run.evaluate_after=false")
    assert steps_taken(folder) == 8
    assert "train_retain" in log_records(folder)[1]
