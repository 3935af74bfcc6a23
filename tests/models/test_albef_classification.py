"""ALBEF for visual entailment: keys as published, the one-epoch ramp, the momentum pass of all copies."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lavis.models.base import TrainingStep
from tests.models.references import assert_close, build, keys_of, listed_keys, load, perturb

ARCH = "albef_classification"
SIZES = {"vocab_size": 300, "fusion_layer": 3}


def model_and_inputs(**keys):
    model = perturb(build(ARCH, **SIZES, **keys), 0.1)
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    rows = {"images": images, "captions": ["two dogs", "a red car", "one cat"], "labels": torch.tensor([0, 2, 1])}
    return model, model.prepare(rows)


def test_keys():
    model = build(ARCH, **SIZES)
    assert keys_of(model) == listed_keys(f"{ARCH}.keys.txt")
    assert model.tie_groups() == []


@torch.no_grad()
def test_the_head_reads_the_pass_that_retrieval_was_checked_with():
    """Same tower, same weights: fused [CLS] of albef_retrieval, whose numbers were recorded."""
    given = load("albef_retrieval", **SIZES, embed_dim=16, queue_size=18)
    model, inputs = model_and_inputs()
    for part in ("visual_encoder", "text_encoder"):
        getattr(model, part).load_state_dict(getattr(given, part).state_dict())
    fused = given.represent(inputs).fused
    assert_close(model.represent(inputs).fused, fused, 1e-5)
    weights = model.cls_head.state_dict()
    hidden = (fused @ weights["0.weight"].T + weights["0.bias"]).clamp(min=0)
    assert_close(model.classify(inputs), hidden @ weights["2.weight"].T + weights["2.bias"], 1e-5)


@pytest.mark.parametrize(
    ("progress", "share"),
    [(TrainingStep(0, 0, 100), 0.0), (TrainingStep(0, 50, 100), 0.2), (TrainingStep(1, 0, 100), 0.4)],
)
def test_soft_targets_grow_over_one_epoch(progress, share):
    model, inputs = model_and_inputs()
    before = model.cls_head_m[0].weight.clone()
    loss = model.objective(inputs, progress)["ce"]
    assert_close(model.cls_head_m[0].weight, 0.995 * before + 0.005 * model.cls_head[0].weight, 1e-6)
    with torch.no_grad():
        log = model.classify(inputs).log_softmax(1)
        states = model.image_states(inputs["images"], model.visual_encoder_m)
        slow = model.cls_head_m(model.text_encoder_m(inputs["tokens"], inputs["mask"], states)[:, 0])
    plain = -(log[0, 0] + log[1, 2] + log[2, 1]) / 3
    assert_close(loss, (1 - share) * plain - share * (slow.softmax(1) * log).sum() / 3, 1e-6)


def test_without_distillation_the_loss_is_plain():
    model, inputs = model_and_inputs(use_distill=False)
    loss = model.objective(inputs, TrainingStep(0, 50, 100))["ce"]
    assert_close(loss, F.cross_entropy(model.classify(inputs), inputs["labels"]), 1e-6)


def test_texts_change_places():
    model, inputs = model_and_inputs()
    order = torch.tensor([2, 0, 1])
    other = model.permute_text(inputs, order)
    assert torch.equal(other["tokens"], inputs["tokens"][order])
    assert torch.equal(other["mask"], inputs["mask"][order])
    assert torch.equal(other["images"], inputs["images"])
    with torch.no_grad():
        assert not torch.allclose(model.represent(other).fused, model.represent(inputs).fused)
