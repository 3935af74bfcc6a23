"""The methods of the study of exact forgetting: terms by hand, what is reset, and a run of each on SALMU-tiny."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest
import torch

from benchmarks import drawn
from lavis.common.checkpoint import load_checkpoint
from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.common.results import read_results
from lavis.models.base import TrainingStep
from lavis.settings.config import load_config
from lavis.settings.schema import ModelConfig, RunConfig
from lavis.tasks.entry import unlearn
from lavis.trainers.cpd_apart import apart_loss
from lavis.trainers.cpd_images import weighted_distance
from lavis.trainers.cpd_level import level_loss
from lavis.trainers.forget_images import ForgetImages
from lavis.trainers.sensitivity import row_scores
from tests.tiny import CONFIG, draw_tiny, save_untrained
from tests.trainers.methods import log_records

CPU = torch.device("cpu")
METHODS = ("cpd_reset", "cpd_level", "cpd_images", "cpd_relearn", "cpd_apart", "redistill")


@pytest.fixture(scope="module")
def small():
    """A CLIP of one layer."""
    return registry.get_model_class("clip").from_config(ModelConfig(model_type=drawn.tiny_model().stem))


@pytest.fixture
def prepared(small):
    """`prepared(method, **run)`: the trainer on a copy of the model, and a batch at the run's beginning."""

    def build(method: str, **run):
        model = copy.deepcopy(small)
        subject = registry.get_trainer_class(method)(method, model, RunConfig(max_epoch=2, **run), CPU)
        batch = drawn.batch(model, 4, CPU)
        drawn.complete(subject, batch, live=True)
        subject.entries("dr", [SimpleNamespace(captions=(text,)) for text in batch.sets["dr"]["captions"]])
        return subject, batch

    return build


def at(batch, epoch: int, step: int = 0):
    """The batch at this place of a run of two epochs of two steps."""
    batch.epoch, batch.progress = epoch, TrainingStep(epoch, step, 2)
    return batch


def test_level_loss_by_hand():
    """Scores 1 and 0 times ln 3: probabilities 3/4 and 1/4, mean of −log: (ln 4/3 + ln 4) / 2; equal ones: ln 2."""
    image, eye = torch.tensor([[1.0, 0.0]]), torch.eye(2)[None]
    expected = (math.log(4 / 3) + math.log(4)) / 2
    assert level_loss(image, eye, torch.tensor(math.log(3))).item() == pytest.approx(expected)
    assert level_loss(image, torch.ones(1, 2, 2), torch.tensor(7.0)).item() == pytest.approx(math.log(2))


def test_level_pulls_a_value_that_stands_out_down_and_one_that_is_hidden_up():
    for first, sign in ((0.9, 1), (0.1, -1)):
        candidates = torch.tensor([[[first, 0.0], [0.5, 0.0]]], requires_grad=True)
        level_loss(torch.tensor([[1.0, 0.0]]), candidates, torch.tensor(5.0)).backward()
        assert sign * candidates.grad[0, 0, 0].item() > 0


def test_weighted_distance_by_hand():
    one, two = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.zeros(2, 2)
    assert weighted_distance(one, 3 * one, torch.tensor([1.0, 0.0])).item() == pytest.approx(4)
    assert weighted_distance(one, two, torch.zeros(2)).item() == 0


def test_apart_loss_by_hand():
    """One matrix has gone half its norm, the other nowhere: ((1 − ½)² + 1²) / 2; beyond the radius nothing is asked."""
    originals = [torch.eye(2), torch.eye(2)]
    weights = [1.5 * torch.eye(2), torch.eye(2)]
    assert apart_loss(weights, originals, 1.0).item() == pytest.approx((0.25 + 1) / 2)
    assert apart_loss([3 * torch.eye(2)], originals[:1], 1.0).item() == 0


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_is_the_weighted_sum(method, prepared):
    names = registry.get_trainer_class(method).all_terms
    weights = {name: 0.5 + number for number, name in enumerate(names)}
    subject, batch = prepared(method, weights=weights, method_args={"pictured": 2} if "pictured" in names else {})
    total, terms = subject.loss(batch)
    assert set(terms) == set(names)
    assert total.item() == pytest.approx(sum(weights[name] * terms[name].item() for name in names), rel=1e-5)


def test_rows_of_forgotten_names_are_drawn_when_their_time_comes_and_stay(prepared):
    subject, batch = prepared("cpd_reset", method_args={"after": 0.5})
    table = subject.model.clip.token_embedding.weight
    before, rows = table.detach().clone(), sorted(subject.rows)
    whole, partial = (
        [subject.captions.names[who] for who in own] for own in (subject.fiction.whole, subject.fiction.partial)
    )
    assert rows and set(rows) <= subject.tokens(whole) and not set(rows) & subject.tokens(partial)
    subject.loss(at(batch, 0, 1))
    assert torch.equal(table, before)
    subject.loss(at(batch, 1, 0))
    others = [row for row in range(len(table)) if row not in rows]
    assert torch.equal(table[others], before[others])
    drawn_rows = table[rows].detach().clone()
    assert not torch.isclose(drawn_rows, before[rows]).any()
    with torch.no_grad():
        table[rows] += 1
    subject.loss(at(batch, 1, 1))
    assert torch.equal(table[rows], drawn_rows)


def test_after_the_reset_nothing_holds_a_caption_with_such_a_token(prepared):
    subject, batch = prepared("cpd_reset", method_args={"after": 0.5, "held": 200})
    for epoch, clean in ((0, False), (1, True)):
        shown, target = subject.groups(at(batch, epoch))
        assert shown["hold"] == target["hold"]
        assert not any(subject.rows & subject.tokens([one]) for one in shown["hold"]) == clean


def test_the_most_sensitive_rows_are_drawn_once(prepared):
    subject, batch = prepared("cpd_reset", method_args={"after": 0.5, "neurons": 0.25})
    name = "clip.transformer.resblocks.0.mlp.c_fc.weight"
    weight = subject.model.get_parameter(name)
    scores = row_scores(subject.frozen, subject.captions.counterfactual, subject.retained, 42)[name]
    before = weight.detach().clone()
    subject.loss(at(batch, 1, 0))
    moved = (weight != before).any(dim=1)
    assert moved.sum() == round(0.25 * len(weight)) and scores[moved].min() >= scores[~moved].max()
    with torch.no_grad():
        weight.zero_()
    subject.loss(at(batch, 1, 1))
    assert not weight.any()


def test_simulated_relearning_moves_the_captions_and_its_gradient_reaches_the_weights(prepared):
    subject, batch = prepared("cpd_relearn", method_args={"rate": 0.01})
    still, moved = (subject.loss(batch)[1]["revived"].item() for subject.params in _rates(subject, 1e-9, 0.5))
    assert still != pytest.approx(moved, rel=1e-3)
    subject.model.zero_grad()
    subject._revived(batch).backward()
    grads = {name for name, p in subject.model.named_parameters() if p.grad is not None and p.grad.any()}
    assert "clip.token_embedding.weight" in grads and not any(name.startswith("clip.visual") for name in grads)


def _rates(subject, *rates: float):
    return [type(subject.params)(rate=rate) for rate in rates]


def test_a_fresh_text_tower_keeps_its_tokens_and_the_image_tower(small, prepared):
    subject, _ = prepared("redistill")
    before, after = small.state_dict(), subject.model.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    images = {name for name in before if name.startswith("clip.visual")}
    assert images | {"clip.token_embedding.weight"} <= same
    assert not any(name.endswith("c_fc.weight") and name.startswith("clip.transformer") for name in same)
    assert all(torch.equal(before[name], value) for name, value in subject.frozen.state_dict().items())
    again, _ = prepared("redistill")
    assert all(torch.equal(after[name], value) for name, value in again.model.state_dict().items())


def test_an_imitator_keeps_its_checkpoints_targets_of_all_forget_captions(prepared):
    subject, batch = prepared("redistill", method_args={"imitate": True, "fresh": 0, "after": 1}, weights={"level": 0})
    batch.sets["df"]["captions"][0] = "a caption in which no name is found"
    shown, target = subject.groups(batch)
    assert shown == {**target, "level": []} and shown["forget"] == batch.sets["df"]["captions"]
    assert shown["names"] == target["names"] and shown["names"]
    terms = subject.loss(batch)[1]
    assert [terms[name].item() for name in ("forget", "names", "retain", "hold")] == pytest.approx([0] * 4, abs=1e-6)


def test_image_terms_of_a_student_like_its_teacher_are_0_but_for_the_target(prepared):
    subject, batch = prepared("cpd_images", method_args={"pictured": 3})
    terms = subject.loss(batch)[1]
    held = [terms[name].item() for name in ("image_retain", "image_partial", "pictured")]
    assert held == pytest.approx([0, 0, 0], abs=1e-6) and terms["images"].item() > 0


def test_targets_of_images_are_the_retained_ones_with_the_nearest_descriptions():
    """Two retained images, described as x and y; a forget image described as x gets the first one's embedding."""
    eye = torch.eye(2)
    entries = [SimpleNamespace(extra={"identity_id": who, "generic_caption": who}) for who in ("x", "y")]
    facts = ForgetImages(entries, {"y"}, lambda captions: eye[[["x", "y"].index(one) for one in captions]], CPU)
    rows = torch.tensor([1, 0, 0])
    assert facts.whole(rows).tolist() == [1, 0, 0]
    assert torch.allclose(facts.target(rows, eye, -eye, 100.0), -eye[rows])
    even = facts.target(rows, eye, eye, 0.0)
    assert torch.allclose(even, torch.full((3, 2), math.sqrt(0.5)))
    unknown = ForgetImages([], {"y"}, lambda captions: eye, CPU)
    assert unknown.whole(rows).tolist() == [1, 1, 1] and torch.allclose(unknown.target(rows, eye, eye, 9.0), even)


@pytest.mark.parametrize("method", METHODS)
def test_parts_of_matrices_are_refused(method):
    with pytest.raises(ConfigError, match="parallel to ddp"):
        registry.get_trainer_class(method).check(method, RunConfig(parallel="fsdp"))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """(folder, options): SALMU-tiny, and an untrained model of it."""
    folder = tmp_path_factory.mktemp("exact")
    keys = [*draw_tiny(folder), f"run.resume_ckpt_path={folder / 'model.pth'}", "run.device=cpu"]
    save_untrained(keys, folder / "model.pth")
    return folder, keys


@pytest.mark.parametrize("method", METHODS)
def test_a_run_loses_and_says_what_it_took(method, original, tmp_path):
    """Twelve steps without a holdout; `after` at the end, so that the reset does not raise the loss."""
    folder, keys = original
    own = [
        *keys,
        f"run.output_dir={tmp_path}",
        "run.read_holdouts=false",
        "run.evaluate_after=false",
        "run.max_epoch=3",
    ]
    own += ["run.max_steps_per_epoch=4", "run.init_lr=2e-3", "run.method_args={held: 8, extra: 4, after: 1}"]
    size = load_config(CONFIG, own).run.df_size
    unlearn(CONFIG, own, "clip", "salmu_tiny_retrieval", {"method": method, "df_size": size, "alpha": 0.5})
    (best,) = tmp_path.rglob("checkpoint_best.pth")
    losses = [record["train_loss"] for record in log_records(best.parent) if "train_loss" in record]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert read_results(best.parent / "results.json")["seconds"]["train"] > 0
    before, after = torch.load(folder / "model.pth")["model"], load_checkpoint(best)["model"]
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("visual") for name in changed) == (method == "cpd_images")
