"""Models of every family embed as their own library does, images from the file on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lavis.models.clip import ClipModel
from lavis.settings.schema import ModelConfig
from tests.hub.folders import (
    PLAIN,
    PREPROCESS,
    SIGLIP,
    altclip_folder,
    assert_equal,
    open_clip_embeddings,
    open_clip_folder,
    own_embeddings,
    transformers_embeddings,
    transformers_folder,
)
from tests.reduced import FAMILIES, make_timm_small, reduced_config

WIDE = PLAIN | {"vision_cfg": PLAIN["vision_cfg"] | {"image_size": 336, "patch_size": 48}}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_open_clip(tmp_path: Path, monkeypatch, name: str) -> None:
    make_timm_small(monkeypatch)
    source = open_clip_folder(tmp_path / "model", reduced_config(name, tmp_path))
    ours = own_embeddings(model_type=source, args={"pretrained_text": False})
    assert_equal(ours, open_clip_embeddings(source))


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_every_way_of_preparing_images(tmp_path: Path, resize_mode: str, interpolation: str) -> None:
    own = PREPROCESS | {"resize_mode": resize_mode, "interpolation": interpolation, "fill_color": 77}
    source = open_clip_folder(tmp_path, {**PLAIN, "quick_gelu": True}, own)
    assert_equal(own_embeddings(pretrained=source), open_clip_embeddings(source))


@pytest.mark.parametrize("model", [SIGLIP, WIDE], ids=["siglip", "336 pixels"])
def test_open_clip_folders_with_their_own_tokenizer_or_size(tmp_path: Path, model: dict[str, Any]) -> None:
    source = open_clip_folder(tmp_path, model)
    assert_equal(own_embeddings(model_type=source), open_clip_embeddings(source))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_transformers_folders(tmp_path: Path, kind: str) -> None:
    source = transformers_folder(tmp_path / kind, kind)
    assert_equal(own_embeddings(model_type=source), transformers_embeddings(source))


def test_altclip_folders(tmp_path: Path) -> None:
    source = altclip_folder(tmp_path / "altclip")
    assert_equal(own_embeddings(model_type=source), transformers_embeddings(source))


def test_features_as_lavis_gives_them(tmp_path: Path) -> None:
    model = ClipModel.from_config(ModelConfig(pretrained=open_clip_folder(tmp_path, PLAIN))).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        found = model.extract_features({"image": images, "text_input": ["a caption", "another"]})
        assert found.image_embeds is not None and found.text_embeds is not None
        assert_equal((found.image_embeds,), (model.encode_image(images, normalize=True),))
        raw = model.encode_text(model.tokenize(["a caption", "another"]))
        assert_equal((found.text_embeds,), (raw / raw.norm(dim=1, keepdim=True),))
        assert model.extract_features({"text_input": ["a"]}).image_embeds is None
