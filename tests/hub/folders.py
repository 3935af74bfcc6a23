"""Model folders with random weights: open_clip's form and transformers', with and without tokenizers of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import transformers
from packaging.version import Version
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from lavis.hub.preparing import follow
from lavis.hub.tokenizers import save_clip_tokenizer
from lavis.models.clip import ClipModel
from lavis.models.clip_transformers import pooled
from lavis.processors.base import build_processor
from lavis.settings.data_schema import DatasetConfig, StageProcessors
from lavis.settings.schema import ModelConfig

CAPTIONS = ["a photo of a red star", "write to ana", "two words more than that"]
PREPROCESS = {"mean": [0.5, 0.4, 0.3], "std": [0.5, 0.25, 0.2], "interpolation": "bilinear", "resize_mode": "squash"}
VIT = {"image_size": 32, "layers": 2, "width": 24, "head_width": 8, "patch_size": 8}
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
PLAIN = {"embed_dim": 16, "vision_cfg": VIT, "text_cfg": TEXT}
SIGLIP_TEXT = TEXT | {"vocab_size": 40, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"}
SIGLIP = {**PLAIN, "custom_text": True, "init_logit_scale": 2.3, "init_logit_bias": -10.0, "text_cfg": SIGLIP_TEXT}
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def noise_images() -> list[Image.Image]:
    """Noise of several shapes."""
    draw = np.random.default_rng(0)
    shapes = [(40, 70), (90, 33), (32, 32)]
    return [Image.fromarray(draw.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]


def small_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A tokenizer of 40 letters and words, which ends captions with </s> and pads with <pad>."""
    words = ["<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz", "photo", "star", "write", "words", "than", "that"]
    words += ["red", "of", "to", "two", "more"]
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    names = ["input_ids"]
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, model_input_names=names, **special)


def perturbed(model: Any, seed: int = 0) -> Any:
    """Every weight moved, so that none is at a value that any model starts from."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            # open_clip leaves the projection of CoCa's decoder as the memory was, at times not a number.
            parameter.copy_(torch.where(parameter.abs() < 1e3, parameter, 0.0))
            parameter.add_(0.02 * torch.randn_like(parameter))
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.add_(0.02 * torch.rand_like(buffer))
    return model.eval()


def open_clip_folder(folder: Path, model: dict[str, Any], preprocess: dict[str, Any] | None = None) -> str:
    """A folder as open_clip publishes models; "local-dir:…". Models of 40 words get `small_tokenizer`."""
    folder.mkdir(parents=True, exist_ok=True)
    if model["text_cfg"].get("vocab_size") == 40:
        small_tokenizer().save_pretrained(folder)
        model = {**model, "text_cfg": {**model["text_cfg"], "hf_tokenizer_name": "nobody/small"}}
    content = {"model_cfg": model, "preprocess_cfg": PREPROCESS if preprocess is None else preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    torch.manual_seed(0)  # the same model, whichever tests ran before
    own = perturbed(open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False))
    state = {name: tensor.contiguous() for name, tensor in own.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def open_clip_embeddings(source: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What open_clip makes of `noise_images` and `CAPTIONS`."""
    model, _, preprocess = open_clip.create_model_and_transforms(source, pretrained_text=False)
    model.eval()
    with torch.no_grad():
        images = torch.stack([preprocess(picture) for picture in noise_images()])
        return model.encode_image(images), model.encode_text(open_clip.get_tokenizer(source)(CAPTIONS))


def transformers_folder(folder: Path, kind: str, words: int = 40) -> str:
    """A CLIPModel or SiglipModel folder as transformers saves it; "local-dir:…"."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    image = TOWER | {"image_size": 32, "patch_size": 8}
    if kind == "clip":
        save_clip_tokenizer(folder, 12)
        text = TOWER | {"max_position_embeddings": 12, "eos_token_id": 49407, "hidden_act": "quick_gelu"}
        sections = {"text_config": text, "vision_config": image}
        model = transformers.CLIPModel(transformers.CLIPConfig(projection_dim=16, **sections))
        processor = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    else:
        small_tokenizer().save_pretrained(folder)
        text = TOWER | {
            "bos_token_id": 0,
            "max_position_embeddings": 12,
            "vocab_size": words,
            "projection_size": 32,
            "eos_token_id": 1,
        }
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=image))
        processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    perturbed(model).save_pretrained(folder)
    processor.save_pretrained(folder)
    return f"local-dir:{folder}"


def transformers_embeddings(source: str, length: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """What transformers makes of `noise_images` and `CAPTIONS`."""
    folder = source.removeprefix("local-dir:")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    fast = {} if Version(transformers.__version__).major > 4 else {"use_fast": True}  # 5 has no others
    processor = transformers.AutoImageProcessor.from_pretrained(folder, **fast)
    options = {"padding": "max_length", "max_length": length, "truncation": True, "return_tensors": "pt"}
    with torch.no_grad():
        images = model.get_image_features(**processor(noise_images(), return_tensors="pt"))
        texts = model.get_text_features(**tokenizer(CAPTIONS, **options))
    return pooled(images), pooled(texts)


def own_embeddings(**keys: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """What this project makes of the same files, by way of a data set's evaluation processor."""
    config = ModelConfig(**keys)
    dataset = DatasetConfig(vis_processor=StageProcessors(eval={"name": "clip_image_eval"}))
    followed, recipe = follow(dataset, "pairs", ClipModel.recipe_of(config), override=False)
    model = ClipModel.from_config(config, recipe=recipe).eval()
    processor = build_processor(followed.vis_processor.eval, "image", "here")
    with torch.no_grad():
        images = torch.stack([processor(picture) for picture in noise_images()])
        return model.encode_image(images), model.encode_text(model.tokenize(CAPTIONS))


def assert_equal(ours: tuple[torch.Tensor, ...], theirs: tuple[torch.Tensor, ...]) -> None:
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)


def altclip_folder(folder: Path) -> str:
    """An AltCLIPModel folder: a text tower with a mask, whose positions start after the padding's number."""
    folder.mkdir(parents=True)
    tokenizer = small_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(folder)
    text = TOWER | {"vocab_size": 40, "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 2}
    image = TOWER | {"image_size": 32, "patch_size": 8}
    sections = {"text_config": text | {"eos_token_id": 1, "project_dim": 24}, "vision_config": image}
    config = transformers.AltCLIPConfig(projection_dim=16, **sections)
    perturbed(transformers.AltCLIPModel(config)).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return f"local-dir:{folder}"
