"""blip_nlvr against recorded numbers of the published code, and its facts one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lavis.common.checkpoint import save_checkpoint
from lavis.common.errors import CheckpointError, DataError
from lavis.models.base import TrainingStep
from lavis.models.fused.blip_twin import FIRST_MERGE, TwinAttentionBlock
from lavis.models.fused.text import TextSizes
from tests.models.references import (
    FEATURES,
    FOLDER,
    HIDDEN,
    LOSSES,
    Recorded,
    assert_close,
    assert_gradients,
    build,
    keys_of,
    listed_keys,
    load,
    pixels,
)

SIZES = {"vocab_size": 302, "text_depth": 8}
CROSS = "text_encoder.encoder.layer.{}.crossattention."


@pytest.fixture(scope="module")
def given() -> Recorded:
    return Recorded("blip_nlvr", "inputs")


@pytest.fixture(scope="module")
def wanted() -> Recorded:
    return Recorded("blip_nlvr", "outputs")


@pytest.fixture(scope="module")
def model():
    return load("blip_nlvr", **SIZES)


@pytest.fixture(scope="module")
def inputs(model, given):
    images = torch.stack([given["image0"], given["image1"]], dim=1)
    rows = {"images": pixels(model, images), "captions": given.texts("texts"), "labels": given["label"]}
    return model.prepare(rows)


def hidden_states(model, inputs, context):
    """Embeddings, then the states after every layer, by the encoder's own layers one at a time."""
    encoder, mask = model.text_encoder, inputs["mask"]
    states = [encoder.embeddings(inputs["tokens"])]
    for index in range(encoder.depth):
        states.append(encoder(states[-1], mask, context, first=index, last=index + 1))
    return torch.stack(states)


def test_tokens_are_those_of_the_published_code(model, inputs, given):
    assert torch.equal(model.tokenizer(given.texts("texts"), None).ids, given["input_ids"])
    assert torch.equal(inputs["tokens"], given["encoder_input_ids_used"])
    assert torch.equal(inputs["mask"].long(), given["attention_mask"])


def test_every_recorded_output_is_met(model, inputs, wanted):
    compared = {
        "image_embeds": HIDDEN,
        "image1_embeds": HIDDEN,
        "fused": HIDDEN,
        "fused_hidden_states": HIDDEN,
        "text_embeds_text_mode": HIDDEN,
        "fused_cls": FEATURES,
        "logits": FEATURES,
        "ce_loss": LOSSES,
        "train_loss": LOSSES,
    }
    with torch.no_grad():
        features = model.represent(inputs)
        layers = hidden_states(model, inputs, features.image_states)
        terms = model.objective(inputs, TrainingStep(0, 50, 100))
        own = {
            "image_embeds": features.image_states[:, 0],
            "image1_embeds": features.image_states[:, 1],
            "fused": layers[-1],
            "fused_hidden_states": layers,
            "text_embeds_text_mode": model.text_encoder(inputs["tokens"], inputs["mask"]),
            "fused_cls": features.fused,
            "logits": model.classify(inputs),
            "ce_loss": terms["ce"],
            "train_loss": sum(terms.values()),
        }
    gradients = {name for name in wanted.arrays if name.startswith("grad")}
    assert set(own) | gradients == set(wanted.arrays)
    for name, tolerance in compared.items():
        assert_close(own[name], wanted[name], tolerance)


def test_gradients_are_met(model, inputs, wanted):
    model.zero_grad()
    sum(model.objective(inputs, TrainingStep(0, 50, 100)).values()).backward()
    assert_gradients(model, wanted)


def test_keys_are_those_of_the_checkpoints(model):
    assert keys_of(model) == listed_keys("blip_nlvr.keys.txt")


def test_saved_state_equals_the_loaded_file(model):
    stored = load_file(FOLDER / "blip_nlvr.safetensors")
    saved = model.checkpoint_state()
    assert saved.keys() == stored.keys()
    assert all(torch.equal(saved[name], stored[name]) for name in stored)


def test_lavis_file_and_own_checkpoint_load(model, tmp_path):
    torch.save({"model": model.checkpoint_state(), "epoch": 3}, tmp_path / "lavis.pth")
    save_checkpoint(tmp_path / "own.pth", {"model": model.checkpoint_state(), "position": {}})
    for name in ("lavis.pth", "own.pth"):
        other = build("blip_nlvr", pretrained=str(tmp_path / name), **SIZES)
        assert all(torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_loading_is_strict_both_ways(model, tmp_path, change):
    state = dict(model.checkpoint_state())
    name = CROSS.format(6) + "output.merge_layer.weight"
    if change == "missing":
        del state[name]
    else:
        name = CROSS.format(0) + "output.merge_layer.weight"
        state[name] = torch.zeros(48, 96)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=rf"1 {change} keys \({name}\)"):
        model.load_weights(tmp_path / "w.safetensors")


def test_empty_statement_is_refused(model, given):
    rows = {"images": given["image0"], "captions": ["two people", " ", "a dog"], "labels": given["label"]}
    with pytest.raises(DataError, match="row 1 has an empty text"):
        model.prepare(rows)


def test_long_statements_are_not_cut(model):
    words = ["dog"] * 50
    tokens = model.encode_texts([" ".join(words), "two people"])
    assert tokens.ids.shape == (2, 52)
    assert tokens.mask.sum(dim=1).tolist() == [52, 4]


def numpy_attention(states, source, block, heads=4):
    """softmax(QKᵀ/√d)V of one row, head by head, in double precision."""
    query, key, value = (
        layer.weight.detach().double().numpy() @ rows.double().numpy().T + layer.bias.detach().double().numpy()[:, None]
        for layer, rows in ((block.query, states), (block.key, source), (block.value, source))
    )
    parts = []
    for q, k, v in zip(*(np.split(x, heads) for x in (query, key, value)), strict=True):
        scores = np.exp(q.T @ k / np.sqrt(len(q)))
        parts.append(v @ (scores / scores.sum(axis=1, keepdims=True)).T)
    return np.concatenate(parts).T


@pytest.mark.parametrize("layer", [FIRST_MERGE - 1, FIRST_MERGE])
def test_twin_attention_by_hand(model, layer):
    """Mean of the two projections below layer 6, a linear layer on (image 0, image 1) from there on."""
    block = model.text_encoder.layers[layer].crossattention
    draw = torch.Generator().manual_seed(layer)
    states, images = torch.randn(1, 5, 48, generator=draw), torch.randn(1, 2, 17, 48, generator=draw)
    projected = []
    for twin, dense in enumerate((block.output.dense0, block.output.dense1)):
        attended = numpy_attention(states[0], images[0, twin], getattr(block, f"self{twin}"))
        projected.append(attended @ dense.weight.detach().double().numpy().T + dense.bias.detach().numpy())
    joined = (projected[0] + projected[1]) / 2
    if layer == FIRST_MERGE:
        merge = block.output.merge_layer
        joined = np.hstack(projected) @ merge.weight.detach().double().numpy().T + merge.bias.detach().numpy()
    total = joined + states[0].numpy()
    centred = (total - total.mean(1, keepdims=True)) / np.sqrt(total.var(1, keepdims=True) + 1e-12)
    norm = block.output.LayerNorm
    expected = centred * norm.weight.detach().numpy() + norm.bias.detach().numpy()
    with torch.no_grad():
        own = block(states, images, None)[0]
    torch.testing.assert_close(own, torch.from_numpy(expected).float(), rtol=0, atol=1e-5)


def test_layers_merge_from_the_seventh_on(model):
    merging = [
        "merge_layer" in dict(layer.crossattention.output.named_children()) for layer in model.text_encoder.layers
    ]
    assert merging == [False] * 6 + [True] * 2


def test_the_images_are_not_interchangeable(model, inputs):
    swapped = {**inputs, "images": inputs["images"].flip(1)}
    with torch.no_grad():
        assert (model.classify(inputs) - model.classify(swapped)).abs().max() > 1e-3


def test_padding_changes_nothing(model, inputs):
    """A statement alone and in a batch with a longer one gets the same logits."""
    alone = model.prepare({"images": inputs["images"][2:], "captions": inputs["captions"][2:]})
    assert alone["tokens"].shape[1] < inputs["tokens"].shape[1]
    with torch.no_grad():
        torch.testing.assert_close(model.classify(alone), model.classify(inputs)[2:], rtol=0, atol=1e-6)


def test_permuted_text_meets_the_same_images(model, inputs):
    order = torch.tensor([2, 0, 1])
    mixed = model.permute_text(inputs, order)
    assert torch.equal(mixed["tokens"], inputs["tokens"][order])
    assert mixed["images"] is inputs["images"]
    with torch.no_grad():
        single = {**inputs, "images": inputs["images"][:1], "tokens": inputs["tokens"][2:], "mask": inputs["mask"][2:]}
        expected = model.represent(single).fused
        torch.testing.assert_close(model.represent(mixed).fused[:1], expected, rtol=0, atol=1e-6)


def single_attention_state() -> dict[str, torch.Tensor]:
    """A BLIP pretraining file: the image encoder and a text encoder with one cross-attention a layer."""
    draw = torch.Generator().manual_seed(5)
    retrieval = listed_keys("blip_retrieval.keys.txt")
    names = {n: shape for n, shape in retrieval.items() if n.split(".")[0] in ("visual_encoder", "text_encoder")}
    state = {name: torch.randn(shape, generator=draw) for name, shape in names.items()}
    state["text_encoder.embeddings.position_ids"] = torch.arange(64)[None]
    state["itm_head.weight"] = torch.zeros(2, 48)
    return state


def test_pretraining_weights_start_both_twins(tmp_path):
    state = single_attention_state()
    save_file(state, tmp_path / "blip.safetensors")
    model = build("blip_nlvr", vocab_size=302, text_depth=6, pretraining=str(tmp_path / "blip.safetensors"))
    own = model.checkpoint_state()
    for layer in range(6):
        cross = CROSS.format(layer)
        for leaf in ("query.weight", "key.bias", "value.weight"):
            for twin in (0, 1):
                assert torch.equal(own[f"{cross}self{twin}.{leaf}"], state[f"{cross}self.{leaf}"])
        for twin in (0, 1):
            assert torch.equal(own[f"{cross}output.dense{twin}.bias"], state[f"{cross}output.dense.bias"])
        assert torch.equal(own[f"{cross}output.LayerNorm.weight"], state[f"{cross}output.LayerNorm.weight"])
    same = [name for name in state if name in own]
    assert all(torch.equal(own[name], state[name]) for name in same)


def test_pretraining_leaves_the_merge_layer_fresh(tmp_path):
    state = single_attention_state()
    last = {n.replace("layer.5.", f"layer.{i}."): v for n, v in state.items() if ".layer.5." in n for i in (6, 7)}
    save_file({n: v.clone() for n, v in {**state, **last}.items()}, tmp_path / "blip.safetensors")
    torch.manual_seed(0)
    fresh = build("blip_nlvr", **SIZES).checkpoint_state()
    torch.manual_seed(0)
    own = build("blip_nlvr", pretraining=str(tmp_path / "blip.safetensors"), **SIZES).checkpoint_state()
    kept = {name for name in own if torch.equal(own[name], fresh[name])} - {"text_encoder.embeddings.position_ids"}
    parts = [CROSS.format(i) + "output.merge_layer." for i in (6, 7)] + ["cls_head.0.", "cls_head.2."]
    assert kept == {part + leaf for part in parts for leaf in ("weight", "bias")}


def test_pretraining_file_without_a_part_is_refused(tmp_path):
    state = single_attention_state()
    del state["text_encoder.encoder.layer.3.crossattention.self.key.weight"]
    save_file(state, tmp_path / "blip.safetensors")
    with pytest.raises(CheckpointError, match="2 missing keys.*of blip_nlvr takes blip's pretraining weights"):
        build("blip_nlvr", vocab_size=302, text_depth=6, pretraining=str(tmp_path / "blip.safetensors"))


def test_weights_of_another_architecture_are_refused(tmp_path):
    save_file(single_attention_state(), tmp_path / "blip.safetensors")
    with pytest.raises(CheckpointError, match="The model is blip_nlvr"):
        build("blip_nlvr", pretrained=str(tmp_path / "blip.safetensors"), **SIZES)


def test_block_sizes_follow_the_configuration():
    sizes = TextSizes(vocab=10, width=8, depth=1, heads=2, ffn=16, positions=4, context=12, dropout=0.0)
    block = TwinAttentionBlock(sizes, merge=True)
    assert block.self0.key.weight.shape == (8, 12)
    assert block.output.merge_layer.weight.shape == (8, 16)
