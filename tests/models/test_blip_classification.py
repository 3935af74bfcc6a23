"""blip_classification: its facts, each against a computation of its own."""

from __future__ import annotations

import pytest
import torch

from lavis.common.errors import DataError
from lavis.models.base import TrainingStep
from tests.models.blip_small import CLS, TEXTS, calls, image_batch, lively, transformers_text

LABELS = torch.tensor([2, 0, 1])
ROWS = {"images": image_batch(3), "captions": TEXTS, "labels": LABELS}


@pytest.fixture
def model():
    return lively("blip_classification")


@pytest.fixture
def inputs(model):
    return model.prepare(ROWS)


@torch.no_grad()
def logits_by_transformers(model, suffix: str = "") -> torch.Tensor:
    """Each row alone, unpadded; `suffix` "_m" takes the momentum copies."""
    encoder, head = transformers_text(model, f"text_encoder{suffix}"), getattr(model, f"cls_head{suffix}")
    found = []
    for row, text in enumerate(TEXTS):
        tokens = model.tokenizer([text], None).ids
        states = getattr(model, f"visual_encoder{suffix}")(model.normalise(ROWS["images"][row : row + 1]))
        fused = encoder(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            encoder_hidden_states=states,
            is_decoder=False,
        ).last_hidden_state[:, 0]
        hidden = (fused @ head[0].weight.T + head[0].bias).clamp(min=0)
        found.append(hidden @ head[2].weight.T + head[2].bias)
    return torch.cat(found)


def test_texts_keep_their_first_token(inputs):
    assert inputs["tokens"][:, 0].tolist() == [CLS] * 3


def test_texts_are_cut_after_forty_tokens(model):
    assert model.encode_texts(["dog " * 60]).ids.shape == (1, 40)


@torch.no_grad()
def test_every_layer_attends_to_the_image(model, inputs):
    blocks = [layer.crossattention for layer in model.text_encoder.layers]
    seen = calls(blocks, lambda: model.represent(inputs))
    assert len(seen) == 6
    assert all(torch.equal(given[1], model.image_states(inputs["images"])) for given in seen)


@torch.no_grad()
def test_logits_are_those_of_transformers_row_by_row(model, inputs):
    """So padding changes nothing."""
    torch.testing.assert_close(model.classify(inputs), logits_by_transformers(model), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("progress", "share"), [((0, 5, 10), 0.2), ((0, 0, 10), 0.0), ((1, 3, 10), 0.4)])
def test_objective_mixes_labels_and_the_moved_momentum_copy(model, inputs, progress, share):
    """(1−a)·CE + a·CE to softmax of the copy after its EMA step; a = 0.4·min(1, (epoch·n + step)/n)."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    loss = model.objective(inputs, TrainingStep(*progress))["ce"].item()
    for name, value in model.state_dict().items():
        if "_m." in name and value.is_floating_point():
            expected = 0.995 * before[name] + 0.005 * before[name.replace("_m.", ".", 1)]
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)
    logs = logits_by_transformers(model).double().log_softmax(dim=1)
    soft = logits_by_transformers(model, "_m").double().softmax(dim=1)
    plain = -logs[torch.arange(3), LABELS].mean()
    assert loss == pytest.approx(float((1 - share) * plain - share * (soft * logs).sum(dim=1).mean()), rel=1e-5)


def test_without_distillation_it_is_the_plain_cross_entropy(inputs):
    model = lively("blip_classification", use_distill=False)
    loss = model.objective(inputs, TrainingStep(5, 0, 10))["ce"].item()
    logs = logits_by_transformers(model).double().log_softmax(dim=1)
    assert loss == pytest.approx(-float(logs[torch.arange(3), LABELS].mean()), rel=1e-5)


def test_gradients_reach_every_trained_weight_and_no_copy(model, inputs):
    model.objective(inputs, TrainingStep(0, 5, 10))["ce"].backward()
    for name, parameter in model.named_parameters():
        copied = name.split(".")[0].endswith("_m")
        assert (parameter.grad is None) == copied == (not parameter.requires_grad), name


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_outside_the_classes_are_refused(model, label):
    with pytest.raises(DataError, match="between 0 and 2"):
        model.prepare({**ROWS, "labels": torch.tensor([0, label, 1])})
