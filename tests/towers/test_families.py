"""`model.fast_towers` on one architecture of every family of open_clip's, at a reduced size with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from lavis.common.errors import ConfigError
from lavis.models.clip import ClipModel
from lavis.settings.schema import ModelConfig
from lavis.towers.fast import use_fast_paths
from tests.reduced import FAMILIES, SHORT, first_word, make_timm_small, reduced

CAPTIONS = ["a photo of a red star", "write to ana", "two words more than that"]
ARCHITECTURES = open_clip.list_models()


def structure(content: dict[str, Any]) -> tuple[object, ...]:
    """What tells one family's configuration from another's, sizes aside."""
    vision, text = content["vision_cfg"], content["text_cfg"]
    resnet = isinstance(vision.get("layers"), list)
    image = [first_word(vision.get("timm_model_name", "")), vision.get("timm_pool"), vision.get("timm_proj"), resnet]
    image += [vision.get(key) for key in ("ls_init_value", "attentional_pool", "pool_type", "output_tokens")]
    words = [first_word(text.get("hf_model_name", "")), text.get("no_causal_mask"), text.get("pool_type")]
    words += [text.get(key) for key in ("embed_cls", "proj_type", "proj_bias")]
    model = [bool(content.get(key)) for key in ("custom_text", "multimodal_cfg", "quick_gelu")]
    return (*image, *words, *model)


@pytest.fixture(autouse=True)
def small_timm(monkeypatch):
    make_timm_small(monkeypatch)


def build(path: Path, fast: object, **arguments: Any) -> ClipModel:
    torch.manual_seed(0)
    arguments |= {"pretrained_text": False}
    return ClipModel.from_config(ModelConfig(model_type=str(path), fast_towers=fast, args=arguments)).train()


def pixels(model: ClipModel) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    side = open_clip.model.to_2tuple(model.clip.visual.image_size)
    return torch.randint(0, 256, (3, 3, *side), dtype=torch.uint8, generator=draw)


def outcome(clip: torch.nn.Module, image: Callable, text: Callable) -> dict[str, torch.Tensor]:
    """Both embeddings, and the gradient of a fixed scalar for every parameter of `clip`."""
    torch.manual_seed(2)
    found = {"image": image(), "text": text()}
    sum((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum() for out in found.values()).backward()
    grads = {name: parameter.grad for name, parameter in clip.named_parameters() if parameter.grad is not None}
    return {**{name: out.detach() for name, out in found.items()}, **grads}


def of_model(model: ClipModel) -> dict[str, torch.Tensor]:
    tokens = model.tokenize(CAPTIONS)
    return outcome(model.clip, partial(model.encode_image, pixels(model)), partial(model.encode_text, tokens))


def of_open_clip(name: str, model: ClipModel, **arguments: Any) -> dict[str, torch.Tensor]:
    """open_clip's own model through its own functions; `model` normalises the pixels."""
    torch.manual_seed(0)
    clip = open_clip.create_model(name, pretrained_text=False, **arguments).train()
    images, tokens = model.normalise(pixels(model)), open_clip.get_tokenizer(name)(CAPTIONS)
    return outcome(clip, partial(clip.encode_image, images), partial(clip.encode_text, tokens))


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """To 1e-5 of each tensor's largest entry; where that is nothing but rounding, of the largest of all, less."""
    assert ours.keys() == theirs.keys()
    largest = max(value.abs().max().item() for value in theirs.values())
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-5 * value.abs().max().item() + 1e-7 * largest)


def test_every_architecture_belongs_to_a_family():
    known = {structure(open_clip.get_model_config(name)) for name in FAMILIES}
    assert [name for name in ARCHITECTURES if structure(open_clip.get_model_config(name)) not in known] == []
    assert len(known) == len(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_rewritten_paths_give_what_open_clip_gives(name, tmp_path, caplog):
    path = reduced(name, tmp_path)
    with caplog.at_level("INFO", logger="lavis"):
        own, plain = build(path, "auto"), build(path, False)
    image, text = FAMILIES[name]
    logged = f"Faster code, same values, for {path.stem}: image tower: {image or 'none'}; text tower: {text or 'none'}"
    assert own.short_captions == (text == SHORT) and _without_reasons(caplog.messages[0]) == logged
    assert list(own.state_dict()) == list(plain.state_dict())
    assert not {type(part) for part in plain.clip.modules() if type(part).__module__.split(".")[0] == "lavis"}
    expected = of_open_clip(path.stem, own)
    assert_equal(of_model(own), expected)
    assert_equal(of_model(plain), expected)


def _without_reasons(message: str) -> str:
    return "; ".join(part.split(" (")[0] for part in message.split("; "))


def test_dropped_patches_are_the_same_ones(tmp_path):
    path = reduced("ViT-B-16", tmp_path)
    own = build(path, "true", force_patch_dropout=0.5)
    assert_equal(of_model(own), of_open_clip(path.stem, own, force_patch_dropout=0.5))


@pytest.mark.parametrize(
    "name, said",
    [
        ("RN50", r"no fast path is tested for family_\w*: its image tower is a ModifiedResNet; try 'auto'"),
        ("roberta-ViT-B-32", "its text tower is a HFTextEncoder"),
        ("coca_base", "its text tower has a different mask for each caption"),
        ("nllb-clip-base-siglip", "its image tower is a TimmModel and its text tower is a HFTextEncoder"),
    ],
)
def test_insisting_where_a_tower_has_no_path_is_an_error(name, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        build(reduced(name, tmp_path), "true")


def test_blocks_of_another_kind_are_left_alone(tmp_path):
    content = json.loads(reduced("ViT-B-16", tmp_path).read_text())
    content["vision_cfg"]["qk_norm"] = True
    path = tmp_path / "normalised_queries.json"
    path.write_text(json.dumps(content))
    open_clip.add_model_config(path)
    own = build(path, "auto")
    image, _ = use_fast_paths(build(path, "false").clip, "auto", "it")
    assert image.paths == () and "blocks of class CustomResidualAttentionBlock" in str(image)
    assert_equal(of_model(own), of_open_clip(path.stem, own))


def test_an_unknown_choice_is_named():
    with pytest.raises(ConfigError, match="model.fast_towers is 'yes'; .*auto, false, true"):
        use_fast_paths(torch.nn.Identity(), "yes", "it")
