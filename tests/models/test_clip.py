from __future__ import annotations

import json
import logging

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lavis.common.checkpoint import save_checkpoint
from lavis.common.errors import CheckpointError, ConfigError, DataError, MissingFile
from lavis.models.clip import ClipModel
from lavis.processors.image import ClipImageEval
from lavis.settings.schema import ModelConfig
from tests.small import ARCH

CAPTIONS = ["write to ana.garcia73@example.org", "a photo of a red star"]


@pytest.fixture(scope="module")
def arch(tmp_path_factory):
    path = tmp_path_factory.mktemp("arch") / "test_arch_clip.json"
    path.write_text(json.dumps(ARCH))
    open_clip.add_model_config(path)
    return path


def build(arch, **keys) -> ClipModel:
    return ClipModel.from_config(ModelConfig(model_type=str(arch), **keys)).eval()


def perturbed(model: ClipModel) -> ClipModel:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model


def plain_embeddings(clip, pixels, tokens):
    with torch.no_grad():
        return clip.eval().encode_image(pixels), clip.encode_text(tokens)


def own_embeddings(model, images, tokens):
    with torch.no_grad():
        return model.encode_image(images), model.encode_text(tokens)


@pytest.fixture
def inputs():
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return images


def test_a_checkpoint_of_ours_loads_in_plain_open_clip(arch, inputs, tmp_path):
    model = perturbed(build(arch))
    weights = model.checkpoint_state()
    path = tmp_path / "checkpoint_0.pth"
    save_checkpoint(path, {"model": weights, "state_dict": weights, "position": {}, "config": {}})
    plain = open_clip.create_model(arch.stem, pretrained=str(path))
    tokens = model.tokenize(CAPTIONS)
    expected = plain_embeddings(plain, model.normalise(inputs), open_clip.get_tokenizer(arch.stem)(CAPTIONS))
    for ours, theirs in zip(own_embeddings(model, inputs, tokens), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("form", ["file.pt", "open_clip_pytorch_model.bin", "open_clip_model.safetensors", "local-dir"])
def test_a_checkpoint_of_open_clip_loads_here(arch, inputs, tmp_path, form):
    build(arch)
    plain = open_clip.create_model(arch.stem, pretrained=None)
    state = {name: tensor.contiguous() for name, tensor in plain.state_dict().items()}
    name = "open_clip_pytorch_model.bin" if form == "local-dir" else form
    if name.endswith(".safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save(
            {"state_dict": {f"module.{k}": v for k, v in state.items()}} if form == "file.pt" else state,
            tmp_path / name,
        )
    source = f"local-dir:{tmp_path}" if form == "local-dir" else str(tmp_path / name)
    model = build(arch, pretrained=source)
    tokens = model.tokenize(CAPTIONS)
    expected = plain_embeddings(plain, model.normalise(inputs), open_clip.get_tokenizer(arch.stem)(CAPTIONS))
    for ours, theirs in zip(own_embeddings(model, inputs, tokens), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_preprocessing_equals_open_clips(arch):
    model = build(arch)
    reference = open_clip.image_transform(
        16, is_train=False, mean=model.clip.visual.image_mean, std=model.clip.visual.image_std
    )
    noise = np.random.default_rng(0).integers(0, 256, (37, 29, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    ours = model.normalise(ClipImageEval(image_size=16)(picture, None)[None])
    assert torch.allclose(ours[0], reference(picture), atol=1e-6)


@pytest.mark.parametrize("name", ["ViT-B-32", "RN50"])
def test_architectures_of_open_clip_build_by_name(name):
    model = ClipModel.from_config(ModelConfig(model_type=name))
    longest = max(int((row == 49407).nonzero()[0]) for row in open_clip.get_tokenizer(name)(CAPTIONS))
    assert model.tokenize(CAPTIONS).shape == (2, longest + 1)
    assert len(model.scale_parameters()) == 1


def test_the_temperature_is_bounded(arch):
    model = build(arch)
    with torch.no_grad():
        model.clip.logit_scale.fill_(9.0)
    model.clamp_scale()
    assert model.scale.item() == pytest.approx(100.0)


def test_no_warning_of_random_weights_is_shown(arch, caplog):
    with caplog.at_level(logging.WARNING):
        build(arch)
    assert not caplog.records
    assert logging.root.manager.disable == logging.NOTSET


def test_another_architectures_checkpoint_is_refused_with_the_difference(arch, tmp_path):
    other = {**ARCH, "embed_dim": 8}
    path = tmp_path / "other_clip.json"
    path.write_text(json.dumps(other))
    torch.save(build(path).checkpoint_state(), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"text_projection is \(16, 8\) in the file, \(16, 16\) in the model"):
        build(arch, pretrained=str(tmp_path / "other.pt"))


@pytest.mark.parametrize(
    "keys,error,message",
    [
        ({"model_type": "ViT-B-61"}, ConfigError, "no 'ViT-B-61'; closest: ViT-B-16"),
        ({"model_type": "nowhere.json"}, MissingFile, "architecture file nowhere.json does not exist"),
        ({"model_type": "ViT-B-16", "pretrained": "laion"}, MissingFile, "nor a tag of ViT-B-16"),
        ({"model_type": "ViT-B-16", "pretrained": "no/where.pt"}, MissingFile, "no/where.pt does not exist"),
        ({"model_type": "ViT-B-16", "pretrained": "local-dir:no/where"}, MissingFile, "folder no/where does not exist"),
    ],
)
def test_bad_names_say_what_is_there(keys, error, message):
    with pytest.raises(error, match=message):
        ClipModel.from_config(ModelConfig(**keys))


@pytest.mark.parametrize("text,message", [("{", "not valid JSON"), ("{}", "key 'embed_dim' is missing")])
def test_bad_architecture_files_are_named(tmp_path, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises((ConfigError, DataError), match=message):
        ClipModel.from_config(ModelConfig(model_type=str(path)))
