"""Audits of a user's own table, with and without held-out people, and the metric in an evaluation."""

from __future__ import annotations

import pytest

import lavis
from lavis.audits import hypothesis
from lavis.common.errors import ConfigError
from tests.hub.folders import PLAIN, open_clip_folder
from tests.tables.people import COLUMNS, write_people

FAST = {"num_workers": 0, "device": "cpu", "init_lr": 1e-3, "feature_cache": None, "max_epoch": 1}
CHEAP = ["rounding", "parts_alone", "lira", "new_photos"]


@pytest.fixture(autouse=True)
def short_simulations(monkeypatch):
    monkeypatch.setattr(hypothesis, "SIMULATIONS", 3)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("own"))


def unlearned(world, name, **more):
    data = {"source": str(world / "people.csv"), "images": str(world / "photos"), "columns": COLUMNS, **more}
    facts = {"model": open_clip_folder(world / "mine", PLAIN), "forget": {"where": {"person": ["p3", "p5"]}}}
    return lavis.unlearn(data=data, output_dir=world / name, **facts, **FAST)


def test_held_out_people_are_the_control_and_the_original_is_found(world):
    run = unlearned(world, "with-test", fractions={"test": 0.3})
    result = lavis.audit(run.folder, attacks=CHEAP)
    content = result.content
    assert set(content["models"]) == {"unlearned", "original"} and content["floor"] == "control"
    assert content["people"] == 2 and content["control_people"] >= 2
    assert content["attacks"]["parts_alone"]["problem"] == ""
    assert content["attacks"]["lira"]["problem"].startswith("not possible: 1 other models")
    assert "no other photograph" in content["attacks"]["new_photos"]["problem"]
    assert "control" in content["tests"]
    assert (run.folder / "audit" / "audit.html").is_file() and "note:" in str(result)


def test_every_attack_without_reference_models_takes_the_control_as_its_floor(world):
    """Otherwise only relearning would have a number for one's own data."""
    run = unlearned(world, "all", fractions={"test": 0.3})
    content = lavis.audit(run.folder).content
    asked = {name: one for name, one in content["attacks"].items() if one["variants"] and one["quantity"] == "X"}
    assert {"relearning", "finetune_retained", "rounding", "linear_map", "centring"} <= set(asked)
    for name, one in asked.items():
        assert 0 <= one["floor"] <= 1 and one["gain"] == pytest.approx(one["attacked"] - one["floor"], abs=2e-6), name
        assert 0 < one["p"] <= 1, name
    assert content["attacks"]["finetune_people"]["problem"].startswith("not possible: the retained pairs are of other")


def test_a_limit_in_minutes_leaves_out_the_longest_attacks_and_says_so(world):
    run = unlearned(world, "limited", fractions={"test": 0.3})
    result = lavis.audit(run.folder, attacks=["rounding", "finetune_retained", "relearning"], minutes=0.0001)
    assert list(result.content["attacks"]) == ["rounding"]
    assert any("left out" in note and "finetune_retained (" in note for note in result.content["notes"])
    assert list(lavis.audit(run.folder, attacks=["rounding", "centring"], minutes=600).content["attacks"]) == [
        "rounding",
        "centring",
    ]


def test_without_held_out_rows_it_says_what_cannot_be_concluded(world):
    run = unlearned(world, "without-test")
    content = lavis.audit(run.folder, attacks=["rounding", "finetune_unrelated"]).content
    assert content["tests"] == {} and content["floor"] == ""
    assert any("no control pairs" in note for note in content["notes"])
    assert content["attacks"]["finetune_unrelated"]["attacked"] > 0
    with pytest.raises(ConfigError, match="no split 'nobody'"):
        lavis.audit(run.folder, attacks=["rounding"], control="nobody")


def test_the_metric_audit_of_an_evaluation(world):
    run = unlearned(world, "metric", fractions={"test": 0.3})
    options = ["run.audit.attacks=[rounding]", "run.metrics=[audit]"]
    metrics = lavis.evaluate(run.folder, metrics=["audit"], options=options)
    assert (run.folder / "audit" / "audit.json").is_file()
    assert "audit_share" not in metrics  # the run folder alone does not say where the original is
