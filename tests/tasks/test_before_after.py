"""The numbers before unlearning next to those after it, and what is said of them."""

from __future__ import annotations

import json

import pytest

import lavis
from lavis.common.checkpoint import load_checkpoint, weights_digest
from lavis.tasks.before_after import by_guessing, unchanged
from tests.hub.folders import PLAIN, open_clip_folder
from tests.tables.people import COLUMNS, write_people

FAST = {"num_workers": 0, "device": "cpu", "feature_cache": None, "max_epoch": 1}
BEFORE = {"df_txt_r1": 50.0, "df_img_r1": 40.0, "df_cosine": 0.4}


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (BEFORE, True),
        ({**BEFORE, "df_txt_r1": 40.0}, True),  # one pair of ten
        ({**BEFORE, "df_txt_r1": 30.0}, False),
        ({**BEFORE, "df_cosine": 0.39}, False),
        ({**BEFORE, "df_cosine": 0.5}, True),
        ({**BEFORE, "df_txt_r1": 90.0}, True),  # higher
        ({"df_cosine": 0.4}, False),  # recall was not measured
    ],
)
def test_it_is_said_when_nothing_was_forgotten(after, said):
    assert bool(unchanged(BEFORE, after, 10)) is said


def test_without_numbers_from_before_nothing_is_said():
    assert unchanged({}, BEFORE, 10) == [] and unchanged(BEFORE, BEFORE, 0) == []


def test_recall_by_guessing_is_named_for_small_splits_alone():
    metrics = {"test_txt_r10": 100.0, "dr_txt_r10": 9.0, "df_cosine": 0.3}
    (sentence,) = by_guessing({"test": 5, "dr": 100, "df": 5}, metrics)
    assert sentence.endswith("test 20, 100") and by_guessing({"dr": 100}, metrics) == []


def test_both_are_shown_and_measuring_first_changes_no_weight(tmp_path):
    root = write_people(tmp_path)
    data = {"source": str(root / "people.csv"), "images": str(root / "photos"), "columns": COLUMNS}
    facts = {"model": open_clip_folder(root / "mine", PLAIN), "forget": {"where": {"person": ["p3"]}}, "data": data}
    runs = {
        first: lavis.unlearn(**facts, **FAST, evaluate_before=first, output_dir=root / str(first), init_lr=1e-2)
        for first in (True, False)
    }
    digests = {first: weights_digest(load_checkpoint(run.checkpoint)["model"]) for first, run in runs.items()}
    assert digests[True] == digests[False]
    assert set(runs[True].before) == set(runs[True].metrics) and runs[False].before == {}
    assert "df, before" in str(runs[True]) and "df, after" in str(runs[True]) and "before" not in str(runs[False])
    assert json.loads((runs[True].folder / "results.json").read_text())["before"] == runs[True].before
    original = lavis.evaluate(facts["model"], data=data, forget=facts["forget"], output_dir=root / "o", num_workers=0)
    assert original == pytest.approx(runs[True].before)
