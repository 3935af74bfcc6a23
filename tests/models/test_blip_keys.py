"""BLIP's models have exactly the keys of the public checkpoints, in small and in base size, and load both ways."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from lavis.common.errors import CheckpointError, ConfigError
from lavis.common.registry import registry
from lavis.models.blip import VOCABULARY
from tests.models.references import FOLDER, build, keys_of, listed_keys

SIZES = {
    "blip_classification": {},
    "blip_nlvr": {"text_depth": 8},
    "blip_retrieval": {"embed_dim": 16, "queue_size": 18, "max_txt_len": 12},
    "blip_vqa": {"decoder_depth": 6},
}


def small(arch: str, **more):
    return build(arch, vocab_size=302, **SIZES[arch], **more)


@pytest.fixture(scope="module")
def base_tokenizer(tmp_path_factory) -> str:
    """A vocabulary as long as BERT's."""
    folder = tmp_path_factory.mktemp("vocabulary")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = special + [f"w{number}" for number in range(VOCABULARY - 2 - len(special))]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize("arch", SIZES)
def test_small_keys(arch):
    assert keys_of(small(arch)) == listed_keys(f"{arch}.keys.txt")


@pytest.mark.parametrize("arch", SIZES)
def test_default_sizes_are_those_of_the_public_checkpoint(arch, base_tokenizer):
    cls = registry.get_model_class(arch)
    with torch.device("meta"):
        model = cls.from_config(cls.config_class(tokenizer=base_tokenizer))
    assert keys_of(model) == listed_keys(f"{arch}.public_keys.txt")
    assert model.config.arch == arch
    assert model.family == "blip"


@pytest.mark.parametrize("arch", SIZES)
def test_saved_state_equals_the_loaded_one(arch, tmp_path):
    torch.manual_seed(1)
    state = small(arch).checkpoint_state()
    torch.save({"model": state}, tmp_path / "lavis.pth")
    torch.manual_seed(2)
    loaded = small(arch, pretrained=str(tmp_path / "lavis.pth")).checkpoint_state()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


@pytest.mark.parametrize("arch", SIZES)
def test_missing_and_unexpected_keys_are_named(arch, tmp_path):
    model = small(arch)
    state = {name: tensor.clone() for name, tensor in model.checkpoint_state().items()}
    del state["visual_encoder.norm.bias"]
    state["text_encoder.pooler.dense.bias"] = torch.zeros(48)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError) as caught:
        model.load_weights(tmp_path / "w.safetensors")
    for part in ("1 missing keys (visual_encoder.norm.bias)", "1 unexpected keys (text_encoder.pooler", arch):
        assert part in str(caught.value)


@pytest.mark.parametrize("arch", SIZES)
def test_weights_of_albef_are_refused(arch):
    with pytest.raises(CheckpointError, match=f"The model is {arch}"):
        small(arch).load_weights(FOLDER / "albef_retrieval.safetensors")


@pytest.mark.parametrize("arch", SIZES)
def test_tokenizer_of_another_size_is_refused(arch):
    with pytest.raises(ConfigError, match="302 tokens, but model.vocab_size is 300"):
        build(arch, vocab_size=300)


def test_added_tokens_follow_the_vocabulary():
    tokenizer = small("blip_vqa").tokenizer
    assert (tokenizer.number("[DEC]"), tokenizer.number("[ENC]")) == (300, 301)
    assert tokenizer.decode(torch.tensor([[300, 3], [301, 2]])) == ["", ""]
