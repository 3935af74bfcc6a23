"""A whole audit: the same bytes twice, continued after an interruption, bad input, and attacks from outside."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import torch

import lavis
from lavis.audits import hypothesis
from lavis.audits.attack import Attack, NotPossible, Reading
from lavis.audits.audit import Audit, chosen
from lavis.audits.material import Material
from lavis.audits.metric import values_of
from lavis.audits.models import reference_checkpoints
from lavis.audits.runner import run_audit
from lavis.audits.summary import summarised
from lavis.cli.main import main
from lavis.common.checkpoint import BEST
from lavis.common.errors import ConfigError, DataError, MissingFile
from lavis.common.registry import registry
from lavis.settings.schema import RunConfig
from lavis.tasks.entry import evaluate
from tests.tiny import CONFIG


@pytest.fixture(autouse=True)
def short_simulations(monkeypatch):
    monkeypatch.setattr(hypothesis, "SIMULATIONS", 3)


CHEAP = "run.audit.attacks=[rounding,centring,lira,parts_alone]"


@pytest.fixture
def extra_attack():
    """Register an attack as a user would; it is gone after the test."""
    table, names = registry._tables["attack"], []

    def add(name: str, **members) -> None:
        registry.discover()
        members = {"about": "a test", "budgets": {"quick": {}}, "cost": lambda *_: 0.0, **members}
        registry.register_attack(name)(type(name, (Attack,), members))
        names.append(name)

    yield add
    for name in names:
        del table[name]


def test_the_same_audit_gives_the_same_bytes_and_skips_finished_parts(models, audit_of, tmp_path, monkeypatch):
    first = audit_of(models, CHEAP, folder=tmp_path / "a")
    said: list[str] = []
    run_audit(first, said.append)
    assert "4 attacks" in said[0] and "minutes" in said[0] and said[-1].startswith("4/4 ")
    run_audit(audit_of(models, CHEAP, folder=tmp_path / "b"))
    written = [(tmp_path / name / "audit.json").read_bytes() for name in "ab"]
    assert written[0] == written[1]
    left = tmp_path / "a" / "parts" / "rounding-unlearned.json"
    left.unlink()
    attacked: list[str] = []
    part = Attack.ask
    monkeypatch.setattr(
        Attack, "ask", lambda self, *a, **k: attacked.append(type(self).__name__) or part(self, *a, **k)
    )
    run_audit(audit_of(models, CHEAP, folder=tmp_path / "a"))
    assert set(attacked) == {"Rounding"}
    assert (tmp_path / "a" / "audit.json").read_bytes() == written[0]


def test_audit_json_has_numbers_by_attack_and_no_names(models, audit_of, tmp_path):
    audit = audit_of(models, CHEAP, folder=tmp_path)
    run_audit(audit)
    text = (tmp_path / "audit.json").read_text() + "".join(p.read_text() for p in (tmp_path / "parts").iterdir())
    assert not [name for name in audit.material.names.values() if name in text]
    content = json.loads((tmp_path / "audit.json").read_text())
    assert content["floor"] == "clean" and content["people"] == 4
    assert any("means little" in note for note in content["notes"])
    for one in content["attacks"].values():
        assert {"about", "reference", "needs", "share", "low", "high", "p", "p_holm", "variants"} <= set(one)
    assert set(content["tests"]) == {"control", "relative", "exchange"}
    assert content["tests"]["control"]["smallest"] is None or content["tests"]["control"]["smallest"] > 0


def test_other_weights_or_settings_are_attacked_again(models, audit_of, tmp_path):
    one = audit_of(models, CHEAP, folder=tmp_path)
    run_audit(one)
    attack = one.attacks["centring"]
    assert one.stored("centring", attack, "clean") is not None
    other = audit_of({**models, "clean": models["original"]}, CHEAP, folder=tmp_path)
    assert other.stored("centring", attack, "clean") is None
    assert audit_of(models, CHEAP, "run.audit.seed=1", folder=tmp_path).stored("centring", attack, "clean") is None


def test_audits_of_the_same_data_share_the_attacks_on_references(models, audit_of, tmp_path, monkeypatch):
    """A second method is audited without attacking the original and the clean model again."""
    words, asked = "run.audit.attacks=[rounding,centring,parts_alone]", []
    ask = Attack.ask
    monkeypatch.setattr(Attack, "ask", lambda self, *a, **k: asked.append(self) or ask(self, *a, **k))
    counts = {}
    for name, unlearned in {"a": models["unlearned"], "b": models["clean"]}.items():
        audit = audit_of({**models, "unlearned": unlearned}, words)
        audit.folder, audit.shared = tmp_path / name, tmp_path / "shared"
        asked.clear()
        run_audit(audit)
        counts[name] = len(asked)
    alone = audit_of({**models, "unlearned": models["clean"]}, words, folder=tmp_path / "alone")
    run_audit(alone)
    assert 0 < counts["b"] < counts["a"]
    assert (tmp_path / "b" / "audit.json").read_bytes() == (tmp_path / "alone" / "audit.json").read_bytes()
    assert {path.name for path in (tmp_path / "b" / "parts").iterdir()} == {
        f"{name}-unlearned.json" for name in ("rounding", "centring", "parts_alone")
    }


def test_membership_is_read_again_when_a_reference_or_a_shadow_changes(models, audited, audit_of, tmp_path):
    run_audit(audit_of(models, CHEAP, folder=tmp_path))
    kept = audit_of(models, CHEAP, f"run.audit.shadows=[{audited.clean}]", folder=tmp_path)
    assert kept.shadows == {}, "the clean model has a role here, so it is not another model"
    other = audit_of({**models, "clean": models["unlearned"]}, CHEAP, folder=tmp_path)
    stored = {name: other.stored(name, other.attacks[name], "unlearned") is not None for name in ("lira", "rounding")}
    assert stored == {"lira": False, "rounding": True}


def test_other_seeds_belong_to_the_unlearned_model_alone(models, audit_of, monkeypatch):
    """KLoM of the original must not be that of a mixture; U-LiRA's scale is that of guessing and of certainty."""
    audit = audit_of(models, "run.audit.attacks=[klom,u_lira]")
    others = {name: audit.subjects["clean"].behaviour for name in "ab"}
    monkeypatch.setattr(Audit, "siblings", others)
    audit = audit_of(models, "run.audit.attacks=[klom,u_lira]")
    assert {role: len(one.company.siblings) for role, one in audit.subjects.items() if one.company.siblings} == {
        "unlearned": 2
    }
    assert audit.roles(audit.attacks["u_lira"]) == ["unlearned"]
    assert set(audit.roles(audit.attacks["klom"])) >= {"unlearned", "original"}
    own = Reading(np.full(3, 15.0), np.full(3, 20.0))  # three people, right in 15 of 20 guesses
    one = summarised(audit, {"u_lira": {"unlearned": {"normal": own}}})["attacks"]["u_lira"]
    assert (one["floor"], one["original"], one["share"]) == (0.5, 1.0, pytest.approx(0.5))


def test_models_that_saw_the_data_are_no_references(models, audited, audit_of):
    """Every share would be 0, and the exchange test would find nothing."""
    seen = f"run.audit.shadows=[{audited.original}]"
    with pytest.raises(ConfigError, match="has the weights of the original model"):
        run_audit(audit_of(models, CHEAP, seen))
    with pytest.raises(ConfigError, match="the clean model has the original's weights"):
        run_audit(audit_of({**models, "clean": models["original"]}, CHEAP))
    with pytest.raises(ConfigError, match="--retrained .* has the unlearned model's own weights"):
        lavis.audit(audited.clean, retrained=audited.clean, attacks=["rounding"])


def test_references_of_one_seed_serve_all(tmp_path):
    run = RunConfig(method="ft", output_dir=str(tmp_path), seed=7, seed_folder=True, df_size=5)
    plain = tmp_path / "retrained" / "clip" / "task" / "5" / BEST
    own = plain.parent / "seed-7" / BEST
    for path in (plain, own):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert reference_checkpoints(run, "clip", "task") == {"retrained": path}


def test_an_attack_from_outside_and_failures_are_reported_and_others_go_on(models, audit_of, extra_attack):
    def broken(self, subject, settings):
        raise RuntimeError("CUDA out of memory")

    def endless(self, subject, settings):
        one = self.ask(subject)
        return {"v": Reading(one.total * math.nan, one.count)}

    def impossible(self, subject, settings):
        raise NotPossible("there is no such thing")

    extra_attack("works", run=lambda self, subject, settings: {"plain": self.ask(subject)})
    extra_attack("broken", run=broken)
    extra_attack("endless", run=endless)
    extra_attack("impossible", run=impossible)
    content = run_audit(audit_of(models, "run.audit.attacks=[broken,endless,impossible,works]"))
    problems = {name: one["problem"] for name, one in content["attacks"].items()}
    assert "out of memory" in problems["broken"] and "not finite" in problems["endless"]
    assert problems["impossible"] == "not possible: there is no such thing" and problems["works"] == ""
    assert any("no result from: broken, endless, impossible" in note for note in content["notes"])
    assert set(values_of(content)) >= {"audit_share_works", "audit_p"}


@pytest.mark.parametrize("role", ["unlearned", "original", "clean"])
@pytest.mark.parametrize("harm", ["nan", "equal"])
def test_a_broken_model_is_refused(models, audit_of, role, harm):
    """It would look like a perfect unlearning, or make any look like one."""
    broken = copy.deepcopy(models[role])
    with torch.no_grad():
        if harm == "nan":
            broken.clip.visual.proj[0, 0] = math.nan
        else:
            broken.clip.text_projection.zero_()
    with pytest.raises(DataError, match=f"audit: the {role} model is broken"):
        run_audit(audit_of({**models, role: broken}, CHEAP))


def test_without_references_the_control_is_the_floor(models, audit_of):
    content = run_audit(audit_of({"unlearned": models["original"], "original": models["original"]}, CHEAP))
    assert content["floor"] == "control"
    assert content["attacks"]["parts_alone"]["share"] > 0.8
    assert any("the floor is what the same attack finds about control pairs" in note for note in content["notes"])
    assert content["attacks"]["lira"]["problem"].startswith("not possible: 1 other models")


def test_without_an_original_there_are_values_and_no_shares(models, audit_of):
    content = run_audit(audit_of({"unlearned": models["original"], "clean": models["clean"]}, CHEAP))
    assert math.isnan(content["attacks"]["rounding"]["share"]) and content["attacks"]["rounding"]["attacked"] > 0.5
    assert any("no original model" in note for note in content["notes"])


def test_without_control_it_says_what_cannot_be_concluded(models, material_of, monkeypatch):
    monkeypatch.setattr(Material, "_control", lambda self, name: self.notes.append("no control") or None)
    material, config = material_of("run.audit.attacks=[rounding,lira]")
    content = run_audit(
        Audit({"unlearned": models["original"]}, material, config.run, next(models["clean"].parameters()).device)
    )
    assert content["tests"] == {} and content["control_people"] == 0
    assert any("no floor" in note or "without a floor" in note for note in content["notes"])


def test_a_control_that_overlaps_the_training_data_is_refused(material_of):
    with pytest.raises(DataError, match="a model has seen them"):
        material_of(control="train")


def test_unknown_attacks_are_refused():
    with pytest.raises(ConfigError, match="closest: 'rounding'"):
        chosen(["roundin"], "quick")


def test_every_attack_says_what_it_is():
    for name in registry.names("attack"):
        attack = registry.get_attack_class(name)
        assert attack.about and attack.reference and attack.needs and attack.budgets, name
        assert attack.undoes_maps or attack.why_not, name
        assert "full" in attack.budgets, name


def test_command_and_function_write_the_page(audited, tmp_path, capsys):
    out = tmp_path / "audit"
    words = ["audit", str(audited.clean), "--attacks", "rounding", "--out", str(out)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "rounding" in shown and "audit.html" in shown
    page = (out / "audit.html").read_text()
    assert page.count("<script") == 1 and "rounding" in page  # the one that sorts tables
    result = lavis.audit(audited.clean, attacks=["rounding"], output_dir=out)
    assert result.content["attacks"]["rounding"]["attacked"] < 0.2
    with pytest.raises(MissingFile, match="name the run folder of an unlearning"):
        lavis.audit(tmp_path)


def test_the_metric_of_an_evaluation_finds_the_references(audited):
    options = [*audited.keys, f"run.checkpoint={audited.original}", "run.metrics=[audit]"]
    options += ["run.audit.attacks=[rounding,centring]", "run.evaluate_after=true"]
    ((_, result, _),) = evaluate(CONFIG, options).rows
    assert result is not None
    assert result.metrics["audit_share"] == pytest.approx(1, abs=0.1)
    assert result.metrics["audit_share_low"] <= result.metrics["audit_share"] <= result.metrics["audit_share_high"]
    assert set(result.metrics) >= {"audit_p", "audit_share_rounding", "audit_share_centring"}
    assert (result.folder / "audit" / "audit.json").is_file()
