"""blip_retrieval: its facts, each against a computation of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lavis.common.features import FusedPairFeatures
from lavis.models.base import TrainingStep
from lavis.models.fused import retrieval
from tests.models.blip_small import CLS, ENC, TEXTS, calls, image_batch, lively, transformers_text
from tests.models.references import build

SIZES = {"embed_dim": 16, "queue_size": 8, "max_txt_len": 12}
IDS = torch.tensor([11, 7, 9])
STEP = TrainingStep(0, 50, 100)


@pytest.fixture
def model():
    found = lively("blip_retrieval", **SIZES)
    found.image_queue.copy_(torch.nn.functional.normalize(torch.randn(16, 8), dim=0))
    found.idx_queue[0, :2] = torch.tensor([7, 4])
    return found


def prepared(model, ids: torch.Tensor = IDS, rows: list[int] | None = None) -> dict:
    rows = [0, 1, 2] if rows is None else rows
    texts = [TEXTS[row] for row in rows]
    return model.prepare({"images": image_batch(3)[rows], "captions": texts, "image_ids": ids[rows]})


@torch.no_grad()
def text_states(model, row: int, image: int | None, suffix: str = "") -> torch.Tensor:
    """States (L, H) of one unpadded caption by transformers' encoder, with one image, or without any."""
    tokens = model.tokenizer([TEXTS[row]], 12).ids
    context = None
    if image is not None:
        tokens[:, 0] = ENC
        context = model.visual_encoder(model.normalise(image_batch(3)[image : image + 1]))
    encoder = transformers_text(model, f"text_encoder{suffix}")
    mask = torch.ones_like(tokens)
    found = encoder(input_ids=tokens, attention_mask=mask, encoder_hidden_states=context, is_decoder=False)
    return found.last_hidden_state[0]


@torch.no_grad()
def projected(model, suffix: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Normalised features (3, D) of images and texts, in double precision."""
    images = getattr(model, f"visual_encoder{suffix}")(model.normalise(image_batch(3)))[:, 0]
    texts = torch.stack([text_states(model, row, None, suffix)[0] for row in range(3)])
    found = []
    for states, layer in ((images, f"vision_proj{suffix}"), (texts, f"text_proj{suffix}")):
        rows = getattr(model, layer)(states).double().numpy()
        found.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return found[0], found[1]


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@torch.no_grad()
def test_features_are_those_of_each_row_alone(model):
    """The last layer's [CLS] of text alone: no cross-attention, no fusion layer, nothing of the padding."""
    features = model.represent(prepared(model))
    images, texts = projected(model)
    assert isinstance(features, FusedPairFeatures)
    torch.testing.assert_close(features.image, torch.from_numpy(images).float(), rtol=0, atol=2e-5)
    torch.testing.assert_close(features.text, torch.from_numpy(texts).float(), rtol=0, atol=2e-5)
    fused = torch.stack([text_states(model, row, row)[0] for row in range(3)])
    torch.testing.assert_close(features.fused, fused, rtol=0, atol=2e-5)


@torch.no_grad()
def test_features_read_cls_and_matching_reads_enc(model):
    inputs = prepared(model)
    seen = [given[0] for given in calls([model.text_encoder.embeddings], lambda: model.represent(inputs))]
    assert [tokens[:, 0].tolist() for tokens in seen] == [[CLS] * 3, [ENC] * 3]
    assert torch.equal(seen[0][:, 1:], seen[1][:, 1:])
    assert inputs["tokens"][:, 0].tolist() == [CLS] * 3


@torch.no_grad()
def test_every_layer_cross_attends_in_matching_and_none_in_text_mode(model):
    inputs = prepared(model)
    blocks = [layer.crossattention for layer in model.text_encoder.layers]
    assert calls(blocks, lambda: model.encode_text(inputs["tokens"])) == []
    images, texts = model.image_states_of(inputs["images"]), model.text_states_of(inputs["tokens"], inputs["mask"])
    assert len(calls(blocks, lambda: model.match(images, texts))) == 6


@torch.no_grad()
def test_match_is_the_second_logit_of_each_pair_alone(model):
    """Any image with any text: rows (0, 2), (1, 0), (2, 1)."""
    inputs = prepared(model)
    images, texts = model.image_states_of(inputs["images"]), model.text_states_of(inputs["tokens"], inputs["mask"])
    pairs = [(0, 2), (1, 0), (2, 1)]
    own = model.match(images.take(torch.tensor([i for i, _ in pairs])), texts.take(torch.tensor([t for _, t in pairs])))
    expected = torch.stack([model.itm_head(text_states(model, text, image)[0])[1] for image, text in pairs])
    torch.testing.assert_close(own, expected, rtol=0, atol=2e-5)


def recorded_draws(monkeypatch) -> list[torch.Tensor]:
    """Weights that negatives are drawn by; the draws themselves become the likeliest column."""
    seen: list[torch.Tensor] = []

    def draw(weights: torch.Tensor) -> torch.Tensor:
        seen.append(weights)
        return weights.argmax(dim=1)

    monkeypatch.setattr(retrieval, "draw_negatives", draw)
    return seen


def test_hard_negatives_come_from_the_online_features_of_both_sides(model, monkeypatch):
    """softmax(feat·featᵀ/τ) of this batch, momentum and queue playing no part; images for texts are drawn first."""
    seen = recorded_draws(monkeypatch)
    model.objective(prepared(model), STEP)
    images, texts = projected(model)
    logits = images @ texts.T / model.temp.item()
    others = 1 - np.eye(3)
    np.testing.assert_allclose(seen[0].numpy(), softmax(logits.T) * others, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(seen[1].numpy(), softmax(logits) * others, rtol=2e-3, atol=1e-6)


def test_captions_of_the_same_image_are_no_negatives(model, monkeypatch):
    seen = recorded_draws(monkeypatch)
    model.objective(prepared(model, torch.tensor([7, 7, 9])), STEP)
    for weights in seen:
        assert (weights == 0).tolist() == [[True, True, False], [True, True, False], [False, False, True]]


@torch.no_grad()
def test_itm_is_the_mean_over_nine_pairs_one_by_one(model, monkeypatch):
    seen = recorded_draws(monkeypatch)
    loss = model.objective(prepared(model), STEP)["itm"].item()
    image_for_text, text_for_image = (weights.argmax(dim=1).tolist() for weights in seen)
    pairs = [(row, row, 1) for row in range(3)]
    pairs += [(image_for_text[row], row, 0) for row in range(3)]
    pairs += [(row, text_for_image[row], 0) for row in range(3)]
    losses = []
    for image, text, label in pairs:
        logits = model.itm_head(text_states(model, text, image)[0]).double()
        losses.append(-float(logits.log_softmax(dim=0)[label]))
    assert loss == pytest.approx(np.mean(losses), rel=2e-5)


def test_itc_by_hand(model):
    """Online features against [momentum features | queue], soft targets with a = 0.4·(50 / 200) = 0.1."""
    inputs = prepared(model)
    queues = [queue.clone().double().numpy() for queue in (model.image_queue, model.text_queue)]
    ids = np.concatenate([IDS.numpy(), model.idx_queue[0].numpy()])
    loss = model.objective(inputs, STEP)["itc"].item()
    (images, texts), (slow_images, slow_texts) = projected(model), projected(model, "_m")
    same = (IDS.numpy()[:, None] == ids[None, :]).astype(float)
    hard, temp = same / same.sum(axis=1, keepdims=True), model.temp.item()
    assert hard[1].max() == 0.5  # image 7 is in the queue, too
    total = 0.0
    for online, slow, columns in (
        (images, slow_images, np.hstack([slow_texts.T, queues[1]])),
        (texts, slow_texts, np.hstack([slow_images.T, queues[0]])),
    ):
        target = 0.1 * softmax(slow @ columns / temp) + 0.9 * hard
        total -= (target * np.log(softmax(online @ columns / temp))).sum(axis=1).mean() / 2
    assert loss == pytest.approx(total, rel=1e-4)


def test_a_batch_of_a_single_image_has_no_negatives(model):
    terms = model.objective(prepared(model, torch.tensor([7, 7, 7])), STEP)
    expected = [model.itm_head(text_states(model, row, row)[0]).log_softmax(dim=0)[1].item() for row in range(3)]
    assert terms["itm"].item() == pytest.approx(-np.mean(expected), rel=2e-5)
    sum(terms.values()).backward()


def test_without_distillation_targets_are_hard():
    with_soft, without = (lively("blip_retrieval", use_distill=use, **SIZES) for use in (True, False))
    torch.manual_seed(3)
    first = without.objective(prepared(without), TrainingStep(0, 0, 100))["itc"].item()
    torch.manual_seed(3)
    assert with_soft.objective(prepared(with_soft), TrainingStep(0, 0, 100))["itc"].item() == pytest.approx(first)
    later = lively("blip_retrieval", use_distill=False, **SIZES)
    assert later.objective(prepared(later), TrainingStep(9, 0, 100))["itc"].item() == pytest.approx(first)


def test_gradients_reach_every_trained_weight_and_no_copy(model):
    sum(model.objective(prepared(model), STEP).values()).backward()
    for name, parameter in model.named_parameters():
        copied = name.split(".")[0].endswith("_m")
        assert (parameter.grad is None) == copied == (not parameter.requires_grad), name


def test_pretraining_gives_all_but_the_queue(tmp_path):
    """Momentum copies start as the parts they follow."""
    trained = lively("blip_retrieval", seed=4, **{**SIZES, "queue_size": 5})
    state = {name: value.clone() for name, value in trained.checkpoint_state().items() if "queue" not in name}
    state["text_decoder.cls.predictions.bias"] = torch.zeros(302)
    save_file(state, tmp_path / "blip.safetensors")
    model = build("blip_retrieval", vocab_size=302, pretraining=str(tmp_path / "blip.safetensors"), **SIZES)
    for name, value in model.checkpoint_state().items():
        if "queue" not in name:
            assert torch.equal(value, state[name.replace("_m.", ".", 1)]), name
    assert model.image_queue.shape == (16, 8)
    assert (model.idx_queue == -100).all()
