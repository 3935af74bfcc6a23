"""Exported folders: the library that the form belongs to embeds as the model here does; nothing private is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from lavis.common.errors import ConfigError, UserFault
from lavis.hub.export import export
from lavis.models.clip import ClipModel
from lavis.models.clip_transformers import pooled
from lavis.processors.image import ClipImageEval
from lavis.settings.schema import ModelConfig
from tests.hub.folders import (
    CAPTIONS,
    PLAIN,
    SIGLIP,
    assert_equal,
    noise_images,
    open_clip_embeddings,
    open_clip_folder,
    own_embeddings,
    transformers_embeddings,
    transformers_folder,
)
from tests.reduced import make_timm_small, reduced_config

RESNET = PLAIN | {"vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 8}}
MODELS = {"plain": PLAIN, "quick": {**PLAIN, "quick_gelu": True}, "siglip": SIGLIP, "resnet": RESNET}
CUBIC = {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.2], "interpolation": "bicubic", "resize_mode": "shortest"}


def library_embeddings(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """What transformers' own classes make of tensors prepared here: the libraries resize a little differently."""
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    processor = transformers.CLIPImageProcessor.from_pretrained(folder)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (processor.image_mean, processor.image_std))
    pixels = torch.stack([ClipImageEval(processor.crop_size["height"])(picture) for picture in noise_images()])
    words = tokenizer(CAPTIONS, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        images = model.get_image_features(pixel_values=(pixels / 255 - mean) / std)
        return pooled(images), pooled(model.get_text_features(**words))


@pytest.mark.parametrize("name", MODELS)
def test_open_clip_to_open_clip(tmp_path: Path, name: str) -> None:
    source = open_clip_folder(tmp_path / "in", MODELS[name])
    out = export(source, tmp_path / "out")
    assert_equal(open_clip_embeddings(f"local-dir:{out}"), open_clip_embeddings(source))
    files = {path.name for path in out.iterdir()}
    assert files >= {"open_clip_config.json", "open_clip_model.safetensors", "tokenizer_config.json", "README.md"}


@pytest.mark.parametrize("name", ["plain", "quick"])
def test_open_clip_to_transformers_and_back(tmp_path: Path, name: str) -> None:
    source = open_clip_folder(tmp_path / "in", MODELS[name], CUBIC)
    out = export(source, tmp_path / "out", "transformers")
    assert_equal(library_embeddings(out), open_clip_embeddings(source))
    assert_equal(own_embeddings(model_type=f"local-dir:{out}"), transformers_embeddings(f"local-dir:{out}"))
    back = export(f"local-dir:{out}", tmp_path / "back", "open_clip")
    assert_equal(open_clip_embeddings(f"local-dir:{back}"), open_clip_embeddings(source))


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP", "ViT-B-16-SigLIP2"])
def test_siglip_to_transformers(tmp_path: Path, monkeypatch, name: str) -> None:
    """Both activations, and captions that are cleaned first: SiglipModel's tokenizer gets them as they are."""
    make_timm_small(monkeypatch)
    model = reduced_config(name, tmp_path)
    model["text_cfg"] |= {"vocab_size": 40, "context_length": 12, "tokenizer_kwargs": {"clean": "canonicalize"}}
    model["embed_dim"] = 48
    source = open_clip_folder(tmp_path / "in", model)
    out = export(source, tmp_path / "out", "transformers")
    theirs = transformers.SiglipModel.from_pretrained(out).eval()
    clip = ClipModel.from_config(ModelConfig(pretrained=source, args={"pretrained_text": False})).eval()
    captions = ["A photo, of  a RED_star!", "write"]
    tokens = transformers.AutoTokenizer.from_pretrained(out)(
        captions, padding="max_length", max_length=12, return_tensors="pt"
    )
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        found = pooled(theirs.get_image_features(pixel_values=clip.normalise(pixels)))
        texts = pooled(theirs.get_text_features(input_ids=tokens["input_ids"]))
        assert_equal((found, texts), (clip.encode_image(pixels), clip.encode_text(clip.tokenize(captions))))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_transformers_to_transformers(tmp_path: Path, kind: str) -> None:
    source = transformers_folder(tmp_path / "in", kind)
    out = export(source, tmp_path / "out", "transformers")
    assert_equal(transformers_embeddings(f"local-dir:{out}"), transformers_embeddings(source))


@pytest.mark.parametrize(
    ("name", "to", "said"),
    [
        ("resnet", "transformers", r"CLIPModel has no form of in \(vision_cfg.layers=\[1, 1, 1, 1\]"),
        ("plain", "onnx", "unknown form 'onnx'; .*open_clip"),
    ],
)
def test_what_has_no_such_form_is_refused(tmp_path: Path, name: str, to: str, said: str) -> None:
    source = open_clip_folder(tmp_path / "in", MODELS[name])
    with pytest.raises(ConfigError, match=said):
        export(source, tmp_path / "out", to)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    source = open_clip_folder(tmp_path / "in", PLAIN)
    with pytest.raises(ConfigError, match="exists already"):
        export(source, tmp_path / "in")


def test_an_unlearned_run_is_exported_with_its_card(finished, tmp_path: Path) -> None:
    folder = finished("erase")
    out = export(folder, tmp_path / "out", "transformers")
    own = ClipModel.from_config(ModelConfig(pretrained=str(folder))).eval()
    model = transformers.CLIPModel.from_pretrained(out).eval()
    pixels = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    with torch.no_grad():
        theirs = pooled(model.get_image_features(pixel_values=own.normalise(pixels)))
        torch.testing.assert_close(theirs, own.encode_image(pixels), atol=1e-5, rtol=1e-5)
    card = (out / "README.md").read_text()
    assert "- Method: erase" in card and "- Images to forget: 16" in card and "| df_txt_r1 |" in card
    assert "jpg" not in card and "number 3" not in card and str(folder) not in card
    assert not any(str(folder.parents[3]).encode() in path.read_bytes() for path in out.iterdir())


def test_pushing_says_what_the_hub_says(tmp_path: Path, monkeypatch) -> None:
    calls: list[Any] = []

    class Api:
        def create_repo(self, name, **options):
            calls.append(name)

        def upload_folder(self, **options):
            raise OSError("no such owner\nand more")

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    source = open_clip_folder(tmp_path / "in", PLAIN)
    with pytest.raises(UserFault, match=r"out is written, but could not be pushed to me/mine: no such owner$"):
        export(source, tmp_path / "out", push_to="me/mine")
    assert calls == ["me/mine"]


def test_exported_files_can_be_read_by_others(tmp_path):
    folder = export(open_clip_folder(tmp_path / "model", PLAIN), tmp_path / "out", "transformers")
    assert {oct(file.stat().st_mode & 0o777) for file in folder.iterdir()} == {"0o644"}
