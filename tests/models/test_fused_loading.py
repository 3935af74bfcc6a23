"""Loading under the public names: strict both ways, position tables, tied weights, pretraining, tokenizers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lavis.common.checkpoint import save_checkpoint
from lavis.common.errors import CheckpointError, ConfigError, MissingFile
from lavis.common.registry import registry
from lavis.models.fused.tokens import Tokenizer
from lavis.models.fused.vision import resize_positions
from tests.models.references import ALBEF_SIZES, FOLDER, SMALL, build, keys_of, listed_keys, load

RECORDED = ("albef_retrieval", "albef_vqa")
BLOCK = "text_encoder.encoder.layer."


def weights(arch: str) -> dict[str, torch.Tensor]:
    return load_file(FOLDER / f"{arch}.safetensors")


@pytest.fixture(scope="module")
def base_tokenizer(tmp_path_factory):
    """A vocabulary of BERT's size."""
    folder = tmp_path_factory.mktemp("bert")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"piece{i}" for i in range(30522 - 5))]
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    return folder


@pytest.mark.parametrize("arch", ALBEF_SIZES)
def test_defaults_have_the_public_keys_and_shapes(arch, base_tokenizer):
    cls = registry.get_model_class(arch)
    with torch.device("meta"):
        model = cls.from_config(cls.config_class(tokenizer=str(base_tokenizer)))
    assert keys_of(model) == listed_keys(f"{arch}.public_keys.txt")
    assert model.family == "albef"


@pytest.mark.parametrize("arch", RECORDED)
def test_what_is_saved_equals_what_was_loaded(arch, tmp_path):
    model, given = load(arch, **ALBEF_SIZES[arch]), weights(arch)
    state = model.checkpoint_state()
    assert keys_of(model) == listed_keys(f"{arch}.keys.txt")
    assert all(torch.equal(state[name], given[name]) for name in given)
    groups = json.loads((FOLDER / f"{arch}.shared_keys.json").read_text())
    assert model.tie_groups() == sorted(sorted(group) for group in groups)
    path = tmp_path / "lavis.pth"
    save_checkpoint(path, {"model": state, "optimizer": {}, "epoch": 3})
    again = build(arch, **ALBEF_SIZES[arch])
    again.load_weights(path)
    assert all(torch.equal(value, given[name]) for name, value in again.checkpoint_state().items())


@pytest.mark.parametrize("arch", RECORDED)
def test_missing_unexpected_and_misshapen_keys_are_named(arch, tmp_path):
    model, state = build(arch, **ALBEF_SIZES[arch]), weights(arch)
    del state["visual_encoder.norm.bias"], state["text_encoder.embeddings.position_ids"]
    state["text_encoder.pooler.dense.bias"] = torch.zeros(48)
    state["text_encoder_m.embeddings.LayerNorm.bias"] = torch.zeros(3)
    path = tmp_path / "odd.safetensors"
    save_file(state, path)
    before = model.visual_encoder.cls_token.clone()
    with pytest.raises(CheckpointError) as caught:
        model.load_weights(path)
    for words in ("2 missing keys", "visual_encoder.norm.bias", "position_ids", "1 unexpected", "pooler", "(3,)", arch):
        assert words in str(caught.value)
    assert torch.equal(model.visual_encoder.cls_token, before)


def test_a_file_of_another_architecture_is_one_clear_message():
    with pytest.raises(CheckpointError, match="The model is albef_vqa: is the file one of it"):
        build("albef_vqa", **ALBEF_SIZES["albef_vqa"]).load_weights(FOLDER / "albef_retrieval.safetensors")


def test_torn_ties_are_refused(tmp_path):
    state = weights("albef_vqa")
    state["text_decoder.cls.predictions.decoder.weight"] = state["text_decoder.cls.predictions.decoder.weight"] + 1
    save_file(state, tmp_path / "torn.safetensors")
    with pytest.raises(CheckpointError, match="word_embeddings.weight and text_decoder.cls.predictions.decoder.weight"):
        build("albef_vqa", **ALBEF_SIZES["albef_vqa"]).load_weights(tmp_path / "torn.safetensors")


def test_addresses_and_missing_files(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    model = build("albef_classification", **ALBEF_SIZES["albef_classification"])
    place = tmp_path / "checkpoints" / "albef.pt"
    with pytest.raises(MissingFile, match=rf"curl -L --create-dirs -o {place} https://example.org/albef.pt"):
        model.load_weights("https://example.org/albef.pt")
    place.parent.mkdir()
    torch.save({name: value + 1 for name, value in model.checkpoint_state().items()}, place)
    before = model.cls_head[0].weight.detach().clone()
    model.load_weights("https://example.org/albef.pt")
    torch.testing.assert_close(model.cls_head[0].weight, before + 1)
    with pytest.raises(MissingFile, match="does not exist"):
        model.load_weights("nowhere/albef.pt")


def cubic(distance: np.ndarray, a: float = -0.75) -> np.ndarray:
    """Keys' convolution kernel, the one that bicubic interpolation of torch uses."""
    x = np.abs(distance)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def resampling(old: int, new: int) -> np.ndarray:
    """(new, old) weights of one axis: pixel centres aligned at half a pixel, borders repeated."""
    matrix = np.zeros((new, old))
    for row in range(new):
        centre = (row + 0.5) * old / new - 0.5
        for place in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            matrix[row, min(max(place, 0), old - 1)] += cubic(np.array(centre - place))
    return matrix


@pytest.mark.parametrize("size", [48, 24])
def test_position_tables_are_resized_bicubically(size):
    model = build("albef_retrieval", **{**ALBEF_SIZES["albef_retrieval"], "image_size": size})
    model.load_weights(FOLDER / "albef_retrieval.safetensors")
    new, given = size // 8, weights("albef_retrieval")
    for name in ("visual_encoder.pos_embed", "visual_encoder_m.pos_embed"):
        grid = given[name][0, 1:].double().numpy().reshape(4, 4, 48)
        expected = np.einsum("ia,jb,abc->ijc", resampling(4, new), resampling(4, new), grid).reshape(new * new, 48)
        own = model.checkpoint_state()[name][0]
        assert torch.equal(own[0], given[name][0, 0])
        np.testing.assert_allclose(own[1:].numpy(), expected, atol=1e-5)


def test_tables_of_no_square_grid_are_left_alone():
    table = torch.randn(1, 13, 4)
    assert resize_positions(table, 17) is table


def pretraining_state(arch: str) -> dict[str, torch.Tensor]:
    """What the pretraining stage saves: a tower below `text_encoder.bert`, a head next to it, projections."""
    state = weights("albef_retrieval")
    kept = {name: value + 1 for name, value in state.items() if name.split(".")[0] == "visual_encoder"}
    kept |= {
        f"text_encoder.bert.{name.removeprefix('text_encoder.')}": value
        for name, value in state.items()
        if name.split(".")[0] == "text_encoder"
    }
    head = {n: v for n, v in weights("albef_vqa").items() if n.startswith("text_decoder.cls.")}
    kept |= {name.replace("text_decoder.", "text_encoder."): value for name, value in head.items()}
    kept["text_encoder.cls.predictions.decoder.weight"] = state["text_encoder.embeddings.word_embeddings.weight"]
    single = ("temp", "itm_head.weight", "itm_head.bias")
    return kept | {
        name: state[name] for name in state if name in single or name.split(".")[0] in ("vision_proj", "text_proj")
    }


@pytest.mark.parametrize("arch", ALBEF_SIZES)
def test_starting_from_pretraining(arch, tmp_path):
    path = tmp_path / "pretrained.pth"
    given = pretraining_state(arch)
    save_checkpoint(path, {"model": given})
    sizes = {**ALBEF_SIZES[arch], **({"text_depth": 9, "fusion_layer": 3} if arch == "albef_nlvr" else {})}
    state = build(arch, pretraining=str(path), **sizes).checkpoint_state()
    for part in ("visual_encoder.cls_token", "text_encoder.embeddings.word_embeddings.weight"):
        source = given[part.replace("text_encoder.", "text_encoder.bert.")]
        slow = part.replace("_encoder.", "_encoder_m.")
        assert torch.equal(state[part], source) and torch.equal(state[slow], source)
    query = "{}.encoder.layer.{}.crossattention.self.query.weight"
    if arch == "albef_nlvr":
        for index, origin in zip(range(3, 9), (3, 3, 4, 4, 5, 5), strict=True):
            source = given[query.format("text_encoder.bert", origin)]
            assert torch.equal(state[query.format("text_encoder", index)], source)
    if arch == "albef_vqa":
        for index in range(3):
            source = given[query.format("text_encoder.bert", 3 + index)]
            assert torch.equal(state[query.format("text_decoder.bert", index)], source)
            assert torch.equal(state[query.format("text_decoder_m.bert", index)], source)
        head = "predictions.transform.dense.weight"
        assert torch.equal(state[f"text_decoder.cls.{head}"], given[f"text_encoder.cls.{head}"])
    if arch == "albef_retrieval":
        assert torch.equal(state["vision_proj_m.weight"], given["vision_proj.weight"])
        assert (state["idx_queue"] == -100).all()


def test_pretraining_weights_that_lack_a_part_are_refused(tmp_path):
    given = pretraining_state("albef_vqa")
    given = {name: value for name, value in given.items() if ".encoder.layer.0." not in name}
    save_checkpoint(tmp_path / "short.pth", {"model": given})
    with pytest.raises(CheckpointError, match=r"encoder\.layer\.0.*pretraining of albef_vqa"):
        build("albef_vqa", pretraining=str(tmp_path / "short.pth"), **ALBEF_SIZES["albef_vqa"])


@pytest.mark.parametrize(("family", "vocabulary"), [("albef", 300), ("blip", 302)])
def test_parts_of_the_decoder_that_another_stage_lacks_start_fresh(family, vocabulary, tmp_path, caplog):
    """From a retrieval model: no language-model head is there, and BLIP's has nothing of the decoder at all."""
    sizes = {"vocab_size": vocabulary} | ({"fusion_layer": 3} if family == "albef" else {})
    given = build(f"{family}_retrieval", queue_size=12, embed_dim=8, **sizes).checkpoint_state()
    save_checkpoint(tmp_path / "retrieval.pth", {"model": given})
    with caplog.at_level("INFO"):
        model = build(f"{family}_vqa", pretraining=str(tmp_path / "retrieval.pth"), decoder_depth=1, **sizes)
    state, query = model.checkpoint_state(), "encoder.layer.{}.crossattention.self.query.weight"
    assert torch.equal(state["visual_encoder.cls_token"], given["visual_encoder.cls_token"])
    assert torch.equal(state[f"text_encoder.{query.format(3)}"], given[f"text_encoder.{query.format(3)}"])
    taken = torch.equal(state[f"text_decoder.bert.{query.format(0)}"], given[f"text_encoder.{query.format(3)}"])
    assert taken == (family == "albef")
    assert "retrieval.pth lacks parts of text_decoder; these start fresh" in caplog.text


def test_a_file_without_momentum_copies(tmp_path):
    """LAVIS's trainer leaves out what has no gradient."""
    given = {n: v for n, v in weights("albef_retrieval").items() if not n.split(".")[0].endswith("_m")}
    save_checkpoint(tmp_path / "trained.pth", {"model": given})
    with pytest.raises(CheckpointError, match="lacks the momentum copies; model.pretraining loads it"):
        build("albef_retrieval", **ALBEF_SIZES["albef_retrieval"]).load_weights(tmp_path / "trained.pth")
    path = str(tmp_path / "trained.pth")
    state = build("albef_retrieval", pretraining=path, **ALBEF_SIZES["albef_retrieval"]).checkpoint_state()
    assert all(torch.equal(state[name], value) for name, value in given.items())
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if part.endswith("_m"):
            assert torch.equal(value, given[f"{part.removesuffix('_m')}.{rest}"])


def test_tokenizers_of_files_and_folders():
    for source in (FOLDER / "tokenizer", FOLDER / "tokenizer" / "vocab.txt"):
        found = Tokenizer(str(source), 300)(["two people", "A dog running on the grass"], 6)
        assert found.ids.tolist() == [[2, 30, 1, 3, 0, 0], [2, 5, 18, 44, 8, 3]]
        assert found.mask.int().sum(1).tolist() == [4, 6]


def test_tokenizers_of_the_hub(monkeypatch):
    """The vocabulary comes from the cache (a local file here); an unknown name is no empty tokenizer."""
    asked = []

    def cached(name: str, file: str) -> str:
        asked.append((name, file))
        return str(FOLDER / "tokenizer" / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", cached)
    assert Tokenizer("hf-hub:some/bert", 300)(["two people"], 6).ids.tolist() == [[2, 30, 1, 3]]
    assert asked == [("some/bert", "vocab.txt")]


@pytest.mark.parametrize("name", ["no such name", "nobody/nothing"])
def test_hub_tokenizers_that_cannot_be_had(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingFile, match="is not cached here and could not be fetched"):
        Tokenizer(f"hf-hub:{name}", 300)


def test_further_tokens_come_after_the_vocabulary():
    tokenizer = Tokenizer(str(FOLDER / "tokenizer"), 302, ("[DEC]", "[ENC]"))
    assert (tokenizer.number("[DEC]"), tokenizer.number("[ENC]"), tokenizer.pad, tokenizer.end) == (300, 301, 0, 3)
    assert tokenizer.decode(torch.tensor([[300, 18, 44, 3]])) == ["dog running"]


def test_a_tokenizer_of_the_wrong_size_or_place():
    with pytest.raises(ConfigError, match="has 300 tokens, but model.vocab_size is 30522"):
        Tokenizer(str(FOLDER / "tokenizer"), 30522)
    with pytest.raises(MissingFile, match=r"model.tokenizer: no file .*vocab.txt"):
        Tokenizer(str(FOLDER), 300)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"image_size": 33}, "model.image_size"),
        ({"vision_heads": 5}, "model.vision_heads"),
        ({"fusion_layer": 6}, "model.fusion_layer"),
        ({"max_txt_len": 65}, "model.max_txt_len"),
    ],
)
def test_sizes_that_do_not_fit_are_named(keys, words):
    cls = registry.get_model_class("albef_retrieval")
    with pytest.raises(ConfigError, match=words):
        cls.from_config(cls.config_class(**{**SMALL, **ALBEF_SIZES["albef_retrieval"], **keys}))
