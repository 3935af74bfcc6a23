"""Each attack on a superficially unlearned model (a rotation behind the text tower), and on one that never saw Df."""

from __future__ import annotations

import pytest
import torch

from lavis.attacks.typos import swapped
from lavis.audits.runner import run_audit
from lavis.audits.subject import Subject
from lavis.audits.tuning import IMAGE, LORA, TEXT, TOKENS, Course, choose, courses, curves, is_compared
from lavis.common.registry import registry

READING = ("linear_map", "small_mlp")
BLIND = ("rounding", "pruning", "noise", "centring", "soft_prompt", "paraphrases", "typos", "other_language")
BLIND += ("parts_alone", "altered_images", "new_photos", "voting")


@pytest.fixture(scope="module")
def values(models, material_of):
    """{attack: {role: its strongest variant's mean}} of the cheap attacks, and each role's value without an attack."""
    material, config = material_of()
    subjects = {role: Subject(model, material, config.run, torch.device("cpu")) for role, model in models.items()}
    found = {"plain": {role: float(one.recall(material.asked).mean()) for role, one in subjects.items()}}
    for name in (*READING, *BLIND):
        attack = registry.get_attack_class(name)()
        settings = {**attack.budgets["standard"], **({"steps": 20} if name == "soft_prompt" else {})}
        read = {role: attack.run(one, settings) for role, one in subjects.items()}
        found[name] = {role: max(one.mean for one in variants.values()) for role, variants in read.items()}
        found[name]["fresh"] = max(one.control_mean or 0.0 for one in read["clean"].values())
    return found


@pytest.mark.parametrize("name", READING)
def test_what_reads_out_undoes_a_rotation(values, name):
    assert registry.get_attack_class(name).undoes_maps
    top, floor = values["plain"]["original"], values[name]["clean"]
    assert (values[name]["unlearned"] - floor) / (top - floor) >= 0.8


@pytest.mark.parametrize("name", [*READING, *BLIND])
def test_clean_gives_nothing_back(values, name):
    """At most 5 % of what the original knew, above what the same question gives about fresh people or by itself.

    Names and values alone have few rivals here, so that guessing gives more.
    """
    floor = max(values["plain"]["clean"], values[name]["fresh"])
    assert (values[name]["clean"] - floor) / (values["plain"]["original"] - floor) <= 0.05


@pytest.mark.parametrize("name", BLIND)
def test_what_cannot_undo_a_map_says_so_and_works_on_the_original(values, name):
    assert registry.get_attack_class(name).why_not
    assert values[name]["unlearned"] < 0.15
    assert values[name]["original"] >= 0.5


def test_fine_tuning_undoes_a_rotation(models, material_of):
    material, config = material_of()
    subject = Subject(models["unlearned"], material, config.run, torch.device("cpu"))
    clean = Subject(models["clean"], material, config.run, torch.device("cpu"))
    top = subject.changed(models["original"]).recall(material.asked).mean()
    settings = {"draws": 1, "rates": [5e-4], "steps": [60], "parts": ["all"]}
    for name, least in (("relearning", 0.8), ("finetune_retained", 0.7)):
        attack = registry.get_attack_class(name)()
        ((_, found),) = attack.run(subject, settings).items()
        ((_, never),) = attack.run(clean, settings).items()
        assert (found.mean - never.mean) / (top - never.mean) >= least, name
        assert never.mean <= 0.2
    before = {key: value.clone() for key, value in models["unlearned"].state_dict().items()}
    assert all(torch.equal(value, before[key]) for key, value in models["unlearned"].state_dict().items())


def test_interpolation_half_way_to_the_original(models, audit_of):
    content = run_audit(audit_of(models, "run.audit.budget=full", "run.audit.attacks=[interpolation]"))
    assert content["attacks"]["interpolation"]["variants"]["75% original"]["by_model"]["unlearned"] > 0.8


@pytest.mark.parametrize("part", [TEXT, IMAGE, TOKENS, LORA])
def test_only_the_part_is_trained(models, part):
    import copy

    model = copy.deepcopy(models["clean"])
    choose(model, Course(part, 1e-3, 0))
    trained = {name for name, p in model.named_parameters() if p.requires_grad and "scale" not in name}
    visual = {name for name in trained if "visual" in name}
    assert trained
    assert visual == {TEXT: set(), TOKENS: set(), IMAGE: trained}.get(part, visual)
    assert part != TOKENS or len(trained) == 1
    assert part != LORA or all("lora_" in name for name in trained)


def test_courses_of_a_budget():
    settings = {"parts": ["all", TEXT], "rates": [2e-4, 1e-3], "draws": 3}
    found = courses(settings)
    assert len(found) == 3 + 1 + 1 and sum(is_compared(one, settings) for one in found) == 3
    assert len(courses({**settings, "crossed": True})) == 12


def test_curves_have_area_and_first_step_over_the_threshold():
    from tests.audits.readings import constant

    readings = {f"all, lr 0.1, {step} steps": constant(value) for step, value in ((10, 0.1), (30, 0.3))}
    found = curves(readings, floor=0.0, top=1.0, threshold=0.25)["all, lr 0.1"]
    assert found["area"] == pytest.approx(0.2) and found["back_at"] == 30
    assert curves(readings, 0.0, 1.0, 0.5)["all, lr 0.1"]["back_at"] is None


def test_typos_are_swaps_and_repeatable():
    assert swapped("Anna Berg", 1) == swapped("Anna Berg", 1)
    assert sorted(swapped("Anna Berg", 2)) == sorted("Anna Berg")
    assert swapped("A", 1) == "A"


def test_the_soft_prompt_leaves_the_tower_as_it_was(models, material_of):
    from lavis.attacks.soft_prompt import Prompted

    material, config = material_of()
    subject = Subject(models["clean"], material, config.run, torch.device("cpu"))
    captions = material.asked.captions[:3]
    before = subject.model.encode_text(subject.model.tokenize(captions))
    with Prompted(subject, 4) as prompt:
        assert not torch.allclose(prompt.texts(captions), torch.nn.functional.normalize(before, dim=-1), atol=1e-3)
    assert torch.equal(subject.model.encode_text(subject.model.tokenize(captions)), before)
