"""Generic captions: they replace the forget captions, may repeat without penalty, and must exist."""

from __future__ import annotations

import json
import math

import pytest
import torch

from lavis.common.errors import DataError
from lavis.common.features import PairFeatures
from lavis.datasets.annotations import Entry
from lavis.trainers.generic import with_generic_captions
from lavis.trainers.shuffled import contrastive_terms
from tests.trainers.methods import LN3, X, Y, eye_pairs, leaf_pairs, log_records, moved, pairs, stepped_trainer

APART, SAME = torch.tensor([0, 1]), torch.tensor([0, 0])


def test_terms_by_hand():
    """Two images with one generic caption x: uniform rows, targets ½ each, loss ln 2; true pairs give ln 4/3."""
    student = PairFeatures(pairs([X, Y], [X, X]).image, torch.full((2, 2), 0.5, dtype=torch.float64))
    terms = contrastive_terms(student, eye_pairs(), LN3, SAME, APART)
    assert terms["forget"].item() == pytest.approx(math.log(2), abs=1e-12)
    assert terms["retain"].item() == pytest.approx(math.log(4 / 3), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_step_pulls_images_to_their_generic_captions(seed):
    student, leaves = leaf_pairs(seed)
    groups = torch.arange(4)
    before = contrastive_terms(student, student, LN3, groups, groups)["forget"]
    after = PairFeatures(*moved(before, leaves))
    assert contrastive_terms(after, student, LN3, groups, groups)["forget"] < before


def test_only_forget_captions_are_replaced():
    subject, _ = stepped_trainer("generic")
    entries = [Entry("a.jpg", ("Ann's phone is 1", "Ann's city is B"), 7, {"generic_caption": "a portrait"})]
    assert subject.entries("df", entries) == [Entry("a.jpg", ("a portrait",), 7, entries[0].extra)]
    assert subject.entries("dr", entries) == entries


@pytest.mark.parametrize("extra", [{}, {"generic_caption": None}, {"generic_caption": " "}])
def test_an_entry_without_one_is_named(extra):
    with pytest.raises(DataError, match=r"row 2 of Df has no 'generic_caption'"):
        with_generic_captions(
            [Entry("a.jpg", ("x",), extra={"generic_caption": "a"}), Entry("b.jpg", ("y",), None, extra)]
        )


def test_a_run_trains_on_generic_captions(unlearn, trained_world, tmp_path):
    """All captions equal in batches of 4: ln 4 over captions, slightly more over images; true captions give less."""
    rows = json.loads((trained_world.notes / "train.json").read_text())
    notes = tmp_path / "train.json"
    notes.write_text(json.dumps([{**row, "generic_caption": "a portrait"} for row in rows]))
    named = f"datasets.salmu.build_info.annotations.train.storage=[{notes}]"
    folder = unlearn("generic", "run.evaluate_after=false", "run.max_epoch=1", named)
    record = log_records(folder)[1]
    assert record["train_forget"] == pytest.approx(math.log(4), abs=0.02)
    assert record["train_retain"] < math.log(4) < record["train_forget"]
    assert record["train_loss"] == pytest.approx(record["train_forget"] + record["train_retain"], rel=1e-5)


def test_a_run_without_them_is_refused(unlearn):
    with pytest.raises(DataError, match="generic_caption"):
        unlearn("generic", "run.evaluate_after=false")
