"""One architecture of each of open_clip's families, at a reduced size.

Text towers from the Hub are built from a small configuration of the same kind; all use CLIP's tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
import transformers

VIT = {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 3}
SMALLER = {  # arguments for timm, by the first word of its model's name
    "vit": VIT,
    "eva02": VIT,
    "eva": VIT | {"img_size": 28},
    "convnext": {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)},
    "swin": {"img_size": 56, "depths": (1, 1, 1, 1), "embed_dim": 12, "num_heads": (1, 1, 2, 2)},
    "fastvit": {"layers": (1, 1, 1, 1), "embed_dims": (64, 64, 64, 64)},
    "vitamin": {"img_size": 64, "depth": 1},
}
CONVOLUTIONAL_STEM = {"img_size": 64, "depth": 1}  # of vit_base_mci_224; its width is fixed
SIDES = {"eva": 28, "swin": 56}
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
ENCODER = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2}
ENCODER |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
VOCABULARY = {"vocab_size": 49408, "max_position_embeddings": 96}
HUB: dict[str, Callable[[], transformers.PretrainedConfig]] = {
    "roberta": lambda: transformers.RobertaConfig(**SIZES, **VOCABULARY),
    "xlm": lambda: transformers.XLMRobertaConfig(**SIZES, **VOCABULARY),
    "mt5": lambda: transformers.MT5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=49408),
    "nllb": lambda: transformers.M2M100Config(**ENCODER, **VOCABULARY),
}


PLAIN, FIRST, SHORT = "attention, MLPs", "attention, MLPs, first token", "attention, MLPs, short captions"
NONE = ""
ALL_FAMILIES = {  # one architecture each: the paths of its image tower and of its text tower
    "ViT-B-16": (FIRST, SHORT),
    "ViT-B-16-quickgelu": (FIRST, SHORT),
    "ViT-M-16-alt": (FIRST, SHORT),
    "ViT-H-14-worldwide": (FIRST, PLAIN),
    "ViT-H-14-worldwide-quickgelu": (FIRST, PLAIN),
    "ViT-H-14-CLIPA": (PLAIN, PLAIN),
    "roberta-ViT-B-32": (FIRST, NONE),
    "xlm-roberta-base-ViT-B-32": (FIRST, NONE),
    "mt5-base-ViT-B-32": (FIRST, NONE),
    "nllb-clip-base": (FIRST, NONE),
    "coca_base": (PLAIN, NONE),
    "coca_ViT-B-32": (PLAIN, NONE),
    "coca_roberta-ViT-B-32": (PLAIN, NONE),
    "RN50": (NONE, SHORT),
    "RN50-quickgelu": (NONE, SHORT),
    "convnext_base": (NONE, SHORT),
    "convnext_large_d": (NONE, SHORT),
    "swin_base_patch4_window7_224": (NONE, SHORT),
    "vit_medium_patch16_gap_256": (NONE, SHORT),
    "EVA01-g-14": (NONE, PLAIN),
    "EVA02-B-16": (NONE, PLAIN),
    "MobileCLIP-S1": (NONE, PLAIN),
    "MobileCLIP-B": (NONE, PLAIN),
    "MobileCLIP2-L-14": (NONE, PLAIN),
    "PE-Core-B-16": (NONE, PLAIN),
    "ViT-B-16-SigLIP2": (NONE, PLAIN),
    "ViT-SO400M-16-SigLIP-i18n-256": (NONE, PLAIN),
    "nllb-clip-base-siglip": (NONE, NONE),
    "ViTamin-B": (NONE, PLAIN),
}
# Those that the installed release of open_clip has; 3.1 has no MobileCLIP2.
FAMILIES = {name: paths for name, paths in ALL_FAMILIES.items() if name in open_clip.list_models()}


def first_word(name: str) -> str:
    return name.rsplit("/", 1)[-1].split("-")[0].split("_")[0]


def reduced(name: str, folder: Path) -> Path:
    """The architecture's file with small towers; open_clip then finds it under the file's stem."""
    path = (
        folder / f"family_{name.encode().hex()}.json"
    )  # in hex, because open_clip chooses tokenizers by parts of the name
    path.write_text(json.dumps(reduced_config(name, folder)))
    open_clip.add_model_config(path)
    return path


def reduced_config(name: str, folder: Path) -> dict[str, Any]:
    """The architecture's model_cfg with small towers; writes the files that it refers to into `folder`."""
    content: Any = open_clip.get_model_config(name)
    content["embed_dim"] = 16
    _reduce_image(content["vision_cfg"])
    _reduce_text(content["text_cfg"], folder)
    if "multimodal_cfg" in content:
        content["multimodal_cfg"] |= {"width": 16, "heads": 2, "layers": 1}
    return content


def _reduce_image(vision: dict[str, Any]) -> None:
    if "timm_model_name" in vision:
        kind = first_word(vision["timm_model_name"])
        stem = vision["timm_model_name"] == "vit_base_mci_224"
        vision["image_size"] = 64 if stem else SIDES.get(kind) or SMALLER[kind].get("img_size", 64)
    elif isinstance(vision["layers"], list):
        vision |= {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "image_size": 64}
    else:
        vision |= {"layers": 2, "width": 24, "head_width": 8, "patch_size": 8, "image_size": 32}
        vision |= {key: 2 for key in ("attn_pooler_heads",) if key in vision}


def _reduce_text(text: dict[str, Any], folder: Path) -> None:
    text.pop("hf_tokenizer_name", None)
    text.pop("tokenizer_kwargs", None)
    text |= {"width": 16, "heads": 2, "layers": 2, "vocab_size": 49408, "eos_id": 49407}
    if "hf_model_name" in text:
        HUB[first_word(text["hf_model_name"])]().save_pretrained(folder)
        text["hf_model_name"] = str(folder)


def make_timm_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make timm build small models until the end of the test."""
    create = timm.create_model

    def smaller(name: str, **options: Any) -> torch.nn.Module:
        sizes = CONVOLUTIONAL_STEM if name == "vit_base_mci_224" else SMALLER[first_word(name)]
        return create(name, **sizes, **options)

    monkeypatch.setattr(timm, "create_model", smaller)
