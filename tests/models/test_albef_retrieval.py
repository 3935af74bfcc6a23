"""ALBEF for retrieval against recorded numbers of the published code (a small model, float32 on CPU)."""

from __future__ import annotations

import copy

import pytest
import torch

from lavis.common.features import FusedPairFeatures
from lavis.losses.itm import hard_negative_weights
from lavis.models.base import TrainingStep
from tests.models.references import (
    FEATURES,
    HIDDEN,
    LOSSES,
    Recorded,
    assert_close,
    assert_gradients,
    build,
    drawn_b,
    load,
    pixels,
)

ARCH = "albef_retrieval"
SIZES = {"vocab_size": 300, "fusion_layer": 3, "embed_dim": 16, "queue_size": 18, "max_txt_len": 12}
STEP = TrainingStep(epoch=0, step=50, steps_per_epoch=100)
INPUTS, OUTPUTS = Recorded(ARCH, "inputs"), Recorded(ARCH, "outputs")


@pytest.fixture
def model():
    return load(ARCH, **SIZES)


def inputs_of(model, ids: str = "image_id_b") -> dict:
    return {
        "images": pixels(model, INPUTS["image"]),
        "tokens": INPUTS["input_ids"],
        "mask": INPUTS["attention_mask"].bool(),
        "image_ids": INPUTS[ids],
    }


def layer_outputs(model, run) -> list[torch.Tensor]:
    """Output of the embeddings and of every text layer while `run` runs."""
    seen: list[torch.Tensor] = []
    parts = [model.text_encoder.embeddings, *model.text_encoder.layers]
    handles = [part.register_forward_hook(lambda *args: seen.append(args[-1])) for part in parts]
    run()
    for handle in handles:
        handle.remove()
    return seen


@torch.no_grad()
def test_features_and_fused_states(model):
    inputs = inputs_of(model)
    images, texts = model.image_states_of(inputs["images"]), model.text_states_of(inputs["tokens"], inputs["mask"])
    assert_close(images.states, OUTPUTS["image_embeds"], HIDDEN)
    assert_close(texts.states, OUTPUTS["text_embeds"], HIDDEN)
    assert_close(images.features, OUTPUTS["image_feat"], FEATURES)
    assert_close(texts.features, OUTPUTS["text_feat"], FEATURES)
    assert_close(images.features @ texts.features.T, OUTPUTS["sim_i2t"], FEATURES)
    assert_close(texts.features @ images.features.T, OUTPUTS["sim_t2i"], FEATURES)
    assert_close(model.fuse(images.states, texts.states, texts.mask), OUTPUTS["fused"], HIDDEN)
    assert_close(model.match_logits(images, texts), OUTPUTS["itm_logits_pos"], FEATURES)


@torch.no_grad()
def test_represent_gives_what_unlearning_compares(model):
    inputs = inputs_of(model)
    features = model.represent(inputs)
    assert type(features) is FusedPairFeatures is model.features
    assert_close(features.image, OUTPUTS["image_feat"], FEATURES)
    assert_close(features.text, OUTPUTS["text_feat"], FEATURES)
    assert_close(features.fused, OUTPUTS["fused_cls"], HIDDEN)
    assert_close(model.encode_image(inputs["images"]), OUTPUTS["image_feat"], FEATURES)
    assert_close(model.encode_text(inputs["tokens"]), OUTPUTS["text_feat"], FEATURES)


@torch.no_grad()
def test_every_layer(model):
    inputs = inputs_of(model)
    states = model.image_states(inputs["images"])
    whole = layer_outputs(model, lambda: model.text_encoder(inputs["tokens"], inputs["mask"], states))
    assert_close(torch.stack(whole), OUTPUTS["fused_hidden_states"], HIDDEN)


@torch.no_grad()
def test_match_logits_of_all_pairs(model):
    inputs = inputs_of(model)
    images, texts = model.image_states_of(inputs["images"]), model.text_states_of(inputs["tokens"], inputs["mask"])
    image, text = (grid.flatten() for grid in torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij"))
    logits = model.match_logits(images.take(image), texts.take(text)).view(3, 3, 2)
    assert_close(logits, OUTPUTS["itm_logits_allpairs"], FEATURES)


def test_the_tokenizer_gives_the_recorded_ids(model):
    inputs = model.prepare({"captions": INPUTS.texts("texts"), "images": None})
    assert torch.equal(inputs["tokens"], INPUTS["input_ids"][:, :11])  # the recorded ones are padded to 12
    assert torch.equal(inputs["mask"], INPUTS["attention_mask"][:, :11].bool())
    tokens = model.tokenize(INPUTS.texts("eval_texts"))
    assert torch.equal(tokens, INPUTS["eval_input_ids"][:, : tokens.shape[1]])
    assert not INPUTS["eval_attention_mask"][:, tokens.shape[1] :].any()


@torch.no_grad()
@pytest.mark.parametrize("case", ["a", drawn_b])
def test_contrast_and_negatives(model, case):
    ids = f"image_id_{case}"
    inputs = inputs_of(model, ids)
    model.begin_step(STEP)
    slow = model.momentum_features(inputs)
    images, texts = model.image_states_of(inputs["images"]), model.text_states_of(inputs["tokens"], inputs["mask"])
    contrast = model.contrast((images.features, texts.features), slow, INPUTS[ids], model.soft_share(STEP))

    def recorded(name: str) -> torch.Tensor:
        return OUTPUTS[f"train_{case}_{name}"]

    assert_close(model.image_states(inputs["images"], model.visual_encoder_m), recorded("image_embeds_m"), HIDDEN)
    momentum_text = model.text_encoder_m(inputs["tokens"], inputs["mask"], last=3)
    assert_close(momentum_text, recorded("text_embeds_m"), HIDDEN)
    assert_close(slow[0], recorded("image_feat_m"), FEATURES)
    assert_close(slow[1], recorded("text_feat_m"), FEATURES)
    for name in ("queue_sim_i2t", "sims.sim_i2t"):
        assert_close(contrast.image_to_text, recorded(name), FEATURES)
    for name in ("queue_sim_t2i", "sims.sim_t2i"):
        assert_close(contrast.text_to_image, recorded(name), FEATURES)
    assert_close(
        slow[0] @ torch.cat([slow[1].T, model.queue.texts], 1) / model.temp, recorded("sims.sim_i2t_m"), FEATURES
    )
    assert_close(
        slow[1] @ torch.cat([slow[0].T, model.queue.images], 1) / model.temp, recorded("sims.sim_t2i_m"), FEATURES
    )
    assert_close(contrast.image_targets, recorded("sims.sim_i2t_targets"), FEATURES)
    assert_close(contrast.text_targets, recorded("sims.sim_t2i_targets"), FEATURES)
    assert_close(contrast.loss, recorded("loss_itc"), LOSSES)
    image_to_text, text_to_image = model.negative_logits(contrast, images, texts)
    assert_close(hard_negative_weights(text_to_image, INPUTS[ids]), recorded("weights_t2i"), FEATURES)
    assert_close(hard_negative_weights(image_to_text, INPUTS[ids]), recorded("weights_i2t"), FEATURES)
    torch.manual_seed(int(INPUTS["multinomial_seed"]))
    drawn = model.draw(contrast, images, texts, INPUTS[ids])
    assert torch.equal(drawn[0], recorded("neg_image_for_text"))
    assert torch.equal(drawn[1], recorded("neg_text_for_image"))
    batch = model.matching_batch(images, texts, *drawn)
    fused = model.fuse(batch[0].states, batch[1].states, batch[1].mask)
    assert_close(fused[:3], recorded("fused_pos"), HIDDEN)
    assert_close(fused[3:], recorded("fused_neg"), HIDDEN)
    assert_close(model.match_logits(*batch), recorded("itm_logits"), FEATURES)
    assert recorded("itm_labels").tolist() == [1] * 3 + [0] * 6


@pytest.mark.parametrize("case", ["a", drawn_b])
def test_objective_and_the_state_after_it(model, case):
    torch.manual_seed(int(INPUTS["multinomial_seed"]))
    terms = model.objective(inputs_of(model, f"image_id_{case}"), STEP)
    assert list(terms) == ["itc", "itm"]
    assert_close(terms["itc"], OUTPUTS[f"train_{case}_loss_itc"], LOSSES)
    assert_close(terms["itm"], OUTPUTS[f"train_{case}_loss_itm"], LOSSES)
    assert_close(sum(terms.values()), OUTPUTS[f"train_{case}_loss"], LOSSES)
    state = model.checkpoint_state()
    for name in ("image_queue", "text_queue", "idx_queue", "queue_ptr", "vision_proj_m.weight"):
        assert_close(state[name], OUTPUTS[f"train_{case}_post.{name}"], 1e-6)
    if case == "b":  # the gradients were recorded for this one
        sum(terms.values()).backward()
        assert_gradients(model, OUTPUTS)


def test_ema_moves_once_per_step_and_first(model):
    before = model.vision_proj_m.weight.clone()
    expected = 0.995 * before + 0.005 * model.vision_proj.weight.detach()
    for _ in range(2):  # two micro-batches of one optimiser step
        model.objective(inputs_of(model), STEP)
    assert_close(model.vision_proj_m.weight, expected, 1e-6)
    model.objective(inputs_of(model), TrainingStep(0, 51, 100))
    assert not torch.allclose(model.vision_proj_m.weight, expected, atol=1e-7)


def test_micro_batches_of_a_step_see_the_same_queue(model):
    inputs = inputs_of(model)
    torch.manual_seed(0)
    first = model.objective(inputs, STEP)["itc"]
    assert torch.equal(model.objective(inputs, STEP)["itc"], first)
    assert model.checkpoint_state()["queue_ptr"].item() == 9
    assert model.objective(inputs, STEP)["itc"] != first


@pytest.mark.parametrize("batch", [4, 5, 7, 18])
def test_the_queue_wraps_around(batch):
    model = build(ARCH, **SIZES)
    rows = torch.arange(3 * batch)
    for part in rows.split(batch):
        model.queue.put(part[:, None].expand(-1, 16).float(), -part[:, None].expand(-1, 16).float(), part)
    model.queue.flush()
    newest = rows[-18:]
    assert sorted(model.queue.ids[model.queue.ids >= 0].tolist()) == newest.tolist()
    held = model.queue.ids >= 0
    assert torch.equal(model.queue.images[3][held], model.queue.ids[held].float())
    assert torch.equal(model.queue.texts[3][held], -model.queue.ids[held].float())
    assert int(model.queue_ptr) == 3 * batch % 18


def test_a_batch_of_one_image_has_no_negatives(model):
    inputs = {**inputs_of(model), "image_ids": torch.tensor([7, 7, 7])}
    terms = model.objective(inputs, STEP)
    logits = OUTPUTS["itm_logits_pos"]
    assert_close(terms["itm"], torch.nn.functional.cross_entropy(logits, torch.ones(3, dtype=torch.long)), LOSSES)
    sum(terms.values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_without_distillation_targets_are_hard():
    model = load(ARCH, **SIZES, use_distill=False)
    inputs = inputs_of(model, "image_id_a")
    terms = model.objective(inputs, STEP)
    logits = torch.stack([OUTPUTS["train_a_sims.sim_i2t"], OUTPUTS["train_a_sims.sim_t2i"]])
    columns = torch.cat([INPUTS["image_id_a"], load(ARCH, **SIZES).queue.ids])
    rows = []
    for direction in logits:
        for row, own in zip(direction.log_softmax(1), INPUTS["image_id_a"], strict=True):
            rows.append(-row[columns == own].mean())
    assert_close(terms["itc"], torch.stack(rows).mean(), LOSSES)


def rerank(cosines: torch.Tensor, k: int, match) -> torch.Tensor:
    """Scores (Q, C) as published: cosine plus match logit of the k best by cosine, −100 for the others."""
    scores = torch.full_like(cosines, -100.0)
    for row, cosine in enumerate(cosines):
        best = cosine.topk(k).indices
        scores[row, best] = cosine[best] + match(row, best)
    return scores


@torch.no_grad()
@pytest.mark.parametrize("k", [2, 4])
def test_ranking_with_matching(model, k):
    images = model.image_states_of(pixels(model, INPUTS["image_eval"]))
    found = model.ranking_tokens(INPUTS.texts("eval_texts"))
    texts = model.text_states_of(found.ids, found.mask)
    assert_close(images.features[-1:], OUTPUTS["eval_last_image_embed"], FEATURES)
    assert_close(texts.features, OUTPUTS["eval_last_text_embed"], FEATURES)
    cosines = images.features @ texts.features.T

    def one(side, row: int, count: int):
        return side.take(torch.full((count,), row))

    i2t = rerank(cosines, k, lambda row, best: model.match(one(images, row, len(best)), texts.take(best)))
    t2i = rerank(cosines.T, k, lambda row, best: model.match(images.take(best), one(texts, row, len(best))))
    assert_close(i2t, OUTPUTS[f"eval_score_i2t_k{k}"], FEATURES)
    assert_close(t2i, OUTPUTS[f"eval_score_t2i_k{k}"], FEATURES)


def test_temperature_is_clamped(model):
    with torch.no_grad():
        model.temp.fill_(0.9)
    model.objective(inputs_of(model), STEP)
    assert model.temp.item() == pytest.approx(0.5)
    assert model.scale.item() == pytest.approx(2.0)
    assert model.scale_parameters() == [model.temp]


def test_the_contrast_is_in_single_precision_under_autocast(model):
    inputs = inputs_of(model)
    with torch.no_grad():
        features, slow = model.represent(inputs), model.momentum_features(inputs)
        plain = model.contrast((features.image, features.text), slow, INPUTS["image_id_b"], 0.1)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model.contrast((features.image, features.text), slow, INPUTS["image_id_b"], 0.1)
    assert torch.equal(mixed.image_to_text, plain.image_to_text) and torch.equal(mixed.loss, plain.loss)


def test_a_copied_model_has_a_queue_of_its_own(model):
    twin = copy.deepcopy(model)
    twin.objective(inputs_of(twin), STEP)
    assert twin.checkpoint_state()["queue_ptr"].item() == 6
    assert model.checkpoint_state()["queue_ptr"].item() == 3
    assert not torch.equal(twin.queue.images, model.queue.images)


def test_the_state_after_a_resumed_run_is_that_of_an_unbroken_one():
    unbroken, broken = load(ARCH, **SIZES), load(ARCH, **SIZES)
    for step in range(3):
        for run in (unbroken, broken):
            torch.manual_seed(step)
            run.objective(inputs_of(run), TrainingStep(0, step, 100))
        state = broken.checkpoint_state()
        broken = build(ARCH, **SIZES)
        broken.load_state_dict(state)
    final = unbroken.checkpoint_state()
    assert all(torch.equal(value, final[name]) for name, value in broken.checkpoint_state().items())
