"""`model.model_type`: the named types of an architecture, which a configuration's settings override."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.settings.config import load_config
from lavis.settings.layers import DEFAULTS

FILES = sorted((DEFAULTS / "models").glob("*.yaml"))
TYPES = {path.stem: yaml.safe_load(path.read_text())["types"] for path in FILES}
NAMED = {  # as LAVIS names them
    "albef_classification": {"ve"},
    "albef_nlvr": {"nlvr"},
    "albef_retrieval": {"coco", "flickr"},
    "albef_vqa": {"vqav2"},
    "blip_classification": {"base"},
    "blip_nlvr": {"nlvr"},
    "blip_retrieval": {"coco", "flickr"},
    "blip_vqa": {"vqav2"},
}
HOST = "https://storage.googleapis.com/"


@pytest.fixture
def compose(tmp_path):
    def load(*options: str, **model: object):
        path = tmp_path / "c.yaml"
        path.write_text(yaml.safe_dump({"model": model, "datasets": {"coco_retrieval": {}}, "run": {}}))
        return load_config(path, options).model

    return load


def test_the_types_are_lavis_names_of_registered_models():
    assert {arch: set(types) for arch, types in TYPES.items()} == NAMED
    assert set(NAMED) | {"clip"} == set(registry.names("model"))


@pytest.mark.parametrize(("arch", "name"), [(arch, name) for arch, types in TYPES.items() for name in types])
def test_a_type_brings_its_settings_and_weights(compose, arch, name):
    found = compose(arch=arch, model_type=name)
    assert {key: getattr(found, key) for key in TYPES[arch][name]} == TYPES[arch][name]
    assert found.pretraining.startswith(HOST) and (found.pretrained or HOST).startswith(HOST)
    plain = compose(arch=arch)
    assert plain.pretrained is None and plain.pretraining is None
    weights = {"model_type", "pretraining", "pretrained"}
    assert {key: value for key, value in vars(found).items() if key not in weights} == {
        key: value for key, value in vars(plain).items() if key not in weights
    }, "a type of the base model has the base model's sizes, which are the defaults"


def test_a_configurations_settings_override_a_types(compose, tmp_path):
    found = compose(arch="albef_retrieval", model_type="coco", pretrained="mine.pth", image_size=256)
    assert (found.pretrained, found.image_size) == ("mine.pth", 256) and "ALBEF.pth" in found.pretraining
    assert compose("model.pretrained=null", arch="albef_retrieval", model_type="coco").pretrained is None


def test_the_last_type_counts(compose):
    found = compose("model.model_type=flickr", arch="albef_retrieval", model_type="coco")
    assert Path(found.pretrained).name == "albef_flickr_retrieval_lavis.pt"


@pytest.mark.parametrize("name", ["cocoo", "vqav2"])
def test_an_unknown_type_lists_the_valid_ones(compose, name):
    with pytest.raises(ConfigError, match=rf"c.yaml: model.model_type: 'albef_retrieval' has no type '{name}'; .*coco"):
        compose(arch="albef_retrieval", model_type=name)
    with pytest.raises(ConfigError, match="--options: model.model_type: 'albef_retrieval' has no type"):
        compose(f"model.model_type={name}", arch="albef_retrieval")


def test_clips_types_are_architectures(compose):
    assert compose(arch="clip", model_type="ViT-B-16").model_type == "ViT-B-16"
