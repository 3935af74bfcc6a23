"""A model's recipe is followed; what contradicts it is refused, or reported where model.override_recipe says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from lavis.common.errors import CheckpointError, ConfigError
from lavis.hub.preparing import follow
from lavis.hub.reading import recipe_of
from lavis.hub.recipe import Recipe
from lavis.models.clip import ClipModel
from lavis.settings.data_schema import DatasetConfig, StageProcessors
from lavis.settings.schema import ModelConfig
from tests.hub.folders import PLAIN, PREPROCESS, SIGLIP, open_clip_folder, transformers_folder

QUICK = {**PLAIN, "quick_gelu": True}


def architecture_file(folder: Path, content: dict[str, Any], name: str = "mine") -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return str(path)


def data_set(**keys: Any) -> DatasetConfig:
    return DatasetConfig(vis_processor=StageProcessors(eval={"name": "clip_image_eval", **keys}))


def test_tags_bring_their_quick_gelu_and_their_normalisation() -> None:
    """28 pairs of open_clip's need QuickGELU; SigLIP's have a mean of 0.5 and squash."""
    quick = [recipe_of(ModelConfig(model_type=name, pretrained=tag)) for name, tag in open_clip.list_pretrained()]
    expected = [
        bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu"))
        or bool(open_clip.get_model_config(name).get("quick_gelu"))
        for name, tag in open_clip.list_pretrained()
    ]
    assert [recipe.quick_gelu for recipe in quick] == expected and sum(expected) >= 28
    siglip = recipe_of(ModelConfig(model_type="ViT-B-16-SigLIP", pretrained="webli"))
    assert siglip.pixels.mean == (0.5, 0.5, 0.5) and siglip.pixels.resize_mode == "squash" and siglip.sigmoid


def test_an_architecture_that_contradicts_a_folder_is_refused_with_both_values(tmp_path: Path) -> None:
    source = open_clip_folder(tmp_path / "model", QUICK)
    config = ModelConfig(model_type=architecture_file(tmp_path, PLAIN), pretrained=source)
    with pytest.raises(
        ConfigError, match=r"quick_gelu is False in mine.json, True in local-dir:.*override_recipe=true"
    ):
        recipe_of(config)


def test_an_override_is_logged_and_remembered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = open_clip_folder(tmp_path / "model", QUICK)
    mine = architecture_file(tmp_path, PLAIN)
    recipe = recipe_of(ModelConfig(model_type=mine, pretrained=source, override_recipe=True))
    assert not recipe.quick_gelu and recipe.pixels.mean == (0.5, 0.4, 0.3)
    assert "quick_gelu is False in mine.json" in caplog.text and "quick_gelu" in recipe.overridden[0]


def test_the_same_architecture_by_name_agrees_with_the_folder(tmp_path: Path) -> None:
    source = open_clip_folder(tmp_path / "model", QUICK)
    recipe = recipe_of(ModelConfig(model_type=architecture_file(tmp_path, QUICK), pretrained=source))
    assert recipe.pixels.resize_mode == "squash" and recipe.overridden == ()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"image_size": 64}, r"datasets.pairs.vis_processor.eval.image_size is 64, 32 in local-dir"),
        ({"interpolation": "bicubic"}, r"eval.interpolation is 'bicubic', 'bilinear' in"),
        (
            {"resize_mode": "shortest", "image_size": 48},
            r"image_size is 48, 32 .*; .*resize_mode is 'shortest', 'squash'",
        ),
    ],
)
def test_a_processor_that_contradicts_the_model_is_refused(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    recipe = recipe_of(ModelConfig(pretrained=open_clip_folder(tmp_path, QUICK)))
    with pytest.raises(ConfigError, match=said):
        follow(data_set(**keys), "pairs", recipe, override=False)
    followed, overridden = follow(data_set(**keys), "pairs", recipe, override=True)
    assert followed.vis_processor.eval.items() >= keys.items() and len(overridden.overridden) == len(keys)


def test_a_processor_that_cannot_follow_names_one_that_can(tmp_path: Path) -> None:
    recipe = recipe_of(ModelConfig(pretrained=open_clip_folder(tmp_path, QUICK)))
    config = DatasetConfig(vis_processor=StageProcessors(eval={"name": "blip_image_eval"}))
    with pytest.raises(ConfigError, match="blip_image_eval cannot prepare images .*; use clip_image_eval"):
        follow(config, "pairs", recipe, override=False)


@pytest.mark.parametrize("kind", ["open_clip", "siglip", "transformers"])
def test_a_checkpoint_carries_its_recipe_and_tokenizer(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "model"
    models = {"open_clip": QUICK, "siglip": SIGLIP}
    source = transformers_folder(folder, "siglip") if kind == "transformers" else open_clip_folder(folder, models[kind])
    model = ClipModel.from_config(ModelConfig(model_type=source)).eval()
    path = tmp_path / "checkpoint_0.pth"
    torch.save({"model": model.checkpoint_state(), "recipe": model.recipe.state()}, path)
    for file in folder.iterdir():
        file.unlink()
    again = ClipModel.from_config(ModelConfig(pretrained=str(path))).eval()
    assert again.recipe == model.recipe
    tokens, pixels = model.tokenize(["a red star"]), torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(tokens, again.tokenize(["a red star"]))
    assert torch.equal(model.encode_text(tokens), again.encode_text(tokens))
    assert torch.equal(model.encode_image(pixels), again.encode_image(pixels))


def test_a_recipe_that_cannot_be_read_names_the_checkpoint() -> None:
    with pytest.raises(CheckpointError, match="checkpoint here.pth has a recipe that cannot be read"):
        Recipe.from_state({"pixels": {}}, "here.pth")


def test_nothing_that_says_an_architecture(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pt")
    with pytest.raises(ConfigError, match="model.model_type is empty, and the weights do not say their architecture"):
        recipe_of(ModelConfig(pretrained=str(tmp_path / "x.pt")))


def test_a_file_that_hides_an_architecture_of_open_clips(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has the name of an architecture of open_clip's, but is another one"):
        recipe_of(ModelConfig(model_type=architecture_file(tmp_path, PLAIN, "ViT-B-32")))
    same = architecture_file(tmp_path, open_clip.get_model_config("ViT-B-16"), "ViT-B-16")
    assert recipe_of(ModelConfig(model_type=same)).name == "ViT-B-16"


def test_one_line_says_the_recipe(tmp_path: Path) -> None:
    line = str(recipe_of(ModelConfig(pretrained=open_clip_folder(tmp_path, QUICK, PREPROCESS))))
    assert line.endswith(f"from local-dir:{tmp_path}")
    assert (
        "32 px, bilinear, squash, mean 0.5 0.4 0.3, std 0.5 0.25 0.2, 12 tokens of the CLIP tokenizer, QuickGELU"
        in line
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"image_size": 64}, r"vision_cfg.image_size is 64 in model.args or model.image_size, 32 in local-dir"),
        ({"args": {"force_context_length": 20}}, r"text_cfg.context_length is 20 in model.args .*, 12 in local-dir"),
        ({"args": {"force_quick_gelu": False}}, r"quick_gelu is False in model.args .*, True in local-dir"),
    ],
)
def test_arguments_that_contradict_the_weights_are_refused(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    source = open_clip_folder(tmp_path, QUICK)
    with pytest.raises(ConfigError, match=said):
        recipe_of(ModelConfig(pretrained=source, **keys))
    changed = ClipModel.from_config(ModelConfig(pretrained=source, override_recipe=True, **keys))
    assert len(changed.recipe.overridden) == 1


def test_arguments_that_change_no_weight_are_free(tmp_path: Path) -> None:
    source = open_clip_folder(tmp_path, QUICK)
    recipe = recipe_of(ModelConfig(pretrained=source, args={"force_patch_dropout": 0.5}, image_size=32))
    assert recipe.architecture["vision_cfg"]["patch_dropout"] == 0.5 and recipe.overridden == ()


@pytest.mark.parametrize(
    "name", ["coca_small", "ViTamin-small", "MobileCLIP-small", "RN50x0", "siglip-mine", "EVA02-x"]
)
def test_a_file_may_be_named_like_one_of_open_clips_families(tmp_path: Path, name: str) -> None:
    """What a file says counts, not its name."""
    model = ClipModel.from_config(ModelConfig(model_type=architecture_file(tmp_path, PLAIN, name)))
    plain = ClipModel.from_config(ModelConfig(model_type=architecture_file(tmp_path, PLAIN)))
    texts = ["a red star"]
    assert torch.equal(model.tokenize(texts), plain.tokenize(texts))
    shapes = [{key: value.shape for key, value in each.checkpoint_state().items()} for each in (model, plain)]
    assert shapes[0] == shapes[1]
