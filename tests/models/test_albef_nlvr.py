"""ALBEF for NLVR2: keys as published, and the published facts checked one by one against plain computations."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lavis.common.errors import ConfigError, DataError
from lavis.models.base import TrainingStep
from lavis.models.fused.text import attend_mask
from tests.models.references import HIDDEN, assert_close, build, keys_of, listed_keys, perturb

ARCH = "albef_nlvr"
SIZES = {"vocab_size": 300, "text_depth": 18}
LAYER = "text_encoder.encoder.layer."
STEP = TrainingStep(epoch=0, step=50, steps_per_epoch=100)


@pytest.fixture(scope="module")
def fresh():
    return perturb(build(ARCH, **SIZES), 0.1)


@pytest.fixture(scope="module")
def inputs(fresh) -> dict:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (3, 2, 3, 32, 32), dtype=torch.uint8, generator=generator)
    rows = {"images": images, "captions": ["two dogs", "a red car in the street", "one cat"]}
    return fresh.prepare({**rows, "labels": torch.tensor([0, 1, 1])})


def naive_attention(state: dict, name: str, heads: int, states, source, mask):
    """Attention spelled out, with the additive −10000 of the published code; then projection, sum and norm."""

    def linear(part: str, x):
        return x @ state[f"{name}.{part}.weight"].T + state[f"{name}.{part}.bias"]

    def split(x):
        return x.view(*x.shape[:2], heads, -1).permute(0, 2, 1, 3)

    query, key = split(linear("self.query", states)), split(linear("self.key", source))
    scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores + (1 - mask[:, None, None, :].to(scores)) * -10000
    context = (scores.softmax(-1) @ split(linear("self.value", source))).permute(0, 2, 1, 3).flatten(2)
    return naive_norm(state, f"{name}.output", linear("output.dense", context) + states)


def naive_norm(state: dict, name: str, x):
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-12).sqrt()
    return scaled * state[f"{name}.LayerNorm.weight"] + state[f"{name}.LayerNorm.bias"]


def naive_text(state: dict, inputs: dict, image_states: torch.Tensor) -> torch.Tensor:
    """The text tower from the state dict alone: layers 0–5 of text, then image 0, 1, 0, 1, …"""
    tokens, mask = inputs["tokens"], inputs["mask"]
    words = state["text_encoder.embeddings.word_embeddings.weight"][tokens]
    places = state["text_encoder.embeddings.position_embeddings.weight"][: tokens.shape[1]]
    states = naive_norm(state, "text_encoder.embeddings", words + places)
    for index in range(18):
        name = f"{LAYER}{index}"
        states = naive_attention(state, f"{name}.attention", 4, states, states, mask)
        if index >= 6:
            image = image_states[:, 0] if index in (6, 8, 10, 12, 14, 16) else image_states[:, 1]
            states = naive_attention(state, f"{name}.crossattention", 4, states, image, None)
        inner = states @ state[f"{name}.intermediate.dense.weight"].T + state[f"{name}.intermediate.dense.bias"]
        inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
        outer = inner @ state[f"{name}.output.dense.weight"].T + state[f"{name}.output.dense.bias"]
        states = naive_norm(state, f"{name}.output", outer + states)
    return states


@torch.no_grad()
def test_the_text_tower_is_that_of_a_plain_computation(fresh, inputs):
    state = fresh.checkpoint_state()
    image_states = fresh.image_states(inputs["images"])
    expected = naive_text(state, inputs, image_states)
    assert_close(fresh.text_encoder(inputs["tokens"], inputs["mask"], image_states), expected, HIDDEN)
    hidden = F.relu(expected[:, 0] @ state["cls_head.0.weight"].T + state["cls_head.0.bias"])
    logits = hidden @ state["cls_head.2.weight"].T + state["cls_head.2.bias"]
    assert_close(fresh.classify(inputs), logits, 2e-5)
    features = fresh.represent(inputs)
    assert features.image_states.shape == (3, 2, 17, 48)
    assert_close(features.fused, expected[:, 0], HIDDEN)


@torch.no_grad()
def test_both_images_go_through_the_one_encoder(fresh, inputs):
    states = fresh.image_states(inputs["images"])
    assert_close(states[:, 1], fresh.image_states(inputs["images"][:, 1]), 1e-5)


def test_keys_and_shared_projections():
    model = build(ARCH, **SIZES)
    assert keys_of(model) == listed_keys(f"{ARCH}.keys.txt")
    expected = []
    for encoder in ("text_encoder", "text_encoder_m"):
        for index in range(6, 18, 2):
            for part in ("key.weight", "key.bias", "value.weight", "value.bias"):
                name = f"{encoder}.encoder.layer.{{}}.crossattention.self.{part}"
                expected.append(sorted([name.format(index), name.format(index + 1)]))
    assert len(expected) == 48
    assert model.tie_groups() == sorted(expected)


def test_online_and_momentum_share_nothing():
    model = build(ARCH, **SIZES)
    own = {id(p) for p in model.text_encoder.parameters()}
    assert own.isdisjoint(id(p) for p in model.text_encoder_m.parameters())
    assert not any(p.requires_grad for p in model.text_encoder_m.parameters())


@torch.no_grad()
def test_the_momentum_pass_uses_the_online_text_encoder(fresh, inputs):
    states = fresh.image_states(inputs["images"], fresh.visual_encoder_m)
    tokens, mask = inputs["tokens"], inputs["mask"]
    online = fresh.cls_head_m(fresh.text_encoder(tokens, mask, states)[:, 0])
    copied = fresh.cls_head_m(fresh.text_encoder_m(tokens, mask, states)[:, 0])
    assert torch.equal(fresh.momentum_logits(inputs), online)
    assert (copied - online).abs().max() > 0.01


@pytest.mark.parametrize(
    ("progress", "share"),
    [
        (STEP, 0.1),
        (TrainingStep(2, 0, 100), 0.4),
        (TrainingStep(9, 3, 100), 0.4),
    ],
)
def test_soft_targets_grow_over_two_epochs(progress, share):
    model = perturb(build(ARCH, **SIZES), 0.1)
    images = torch.randint(0, 256, (2, 2, 3, 32, 32), dtype=torch.uint8)
    inputs = model.prepare({"images": images, "captions": ["two dogs", "a cat"], "labels": torch.tensor([1, 0])})
    slow = {name: value.clone() for name, value in model.text_encoder_m.state_dict().items()}
    loss = model.objective(inputs, progress)["ce"]
    with torch.no_grad():
        log = model.classify(inputs).log_softmax(1)
        soft = model.momentum_logits(inputs).softmax(1)
    plain = -(log[0, 1] + log[1, 0]) / 2
    expected = (1 - share) * plain - share * (soft * log).sum() / 2
    assert_close(loss, expected, 1e-6)
    moved = model.text_encoder_m.state_dict()
    word = "embeddings.word_embeddings.weight"
    online = model.text_encoder.state_dict()[word]
    assert_close(moved[word], 0.995 * slow[word] + 0.005 * online, 1e-6)


def test_training_without_distillation_is_plain_cross_entropy(inputs):
    model = perturb(build(ARCH, **SIZES, use_distill=False), 0.1)
    loss = model.objective(inputs, STEP)["ce"]
    assert_close(loss, F.cross_entropy(model.classify(inputs), inputs["labels"]), 1e-6)
    loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("labels", [[0, 2, 1], [0, -1, 1]])
def test_labels_outside_the_classes_are_named(fresh, labels):
    with pytest.raises(DataError, match="between 0 and 1"):
        fresh.prepare({"captions": ["a", "b", "c"], "labels": torch.tensor(labels)})


def test_odd_numbers_of_fusion_layers_are_refused():
    with pytest.raises(ConfigError, match="in pairs"):
        build(ARCH, vocab_size=300, text_depth=17)


def test_text_alone_leaves_cross_attention_out(fresh, inputs):
    """Every layer's own attention and MLP, the fusion layers included; a plain loop over the same layers agrees."""
    with torch.no_grad():
        states = fresh.text_encoder(inputs["tokens"], inputs["mask"])
        mask = attend_mask(inputs["mask"])
        expected = fresh.text_encoder.embeddings(inputs["tokens"])
        for layer in fresh.text_encoder.layers:
            expected = layer.attention(expected, expected, mask)
            expected = layer.output(layer.intermediate(expected), expected)
    assert_close(states, expected, 1e-6)
