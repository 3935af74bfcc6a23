"""Sizes and sources of a fused encoder: the part of `model:` that ALBEF and BLIP share."""

from __future__ import annotations

from dataclasses import dataclass

from lavis.common.errors import ConfigError
from lavis.common.schema import ModelConfig


@dataclass
class FusedConfig(ModelConfig):
    """Defaults are those of the public base models."""

    image_size: int | None = 384
    patch_size: int = 16
    vision_width: int = 768
    vision_depth: int = 12
    vision_heads: int = 12
    text_width: int = 768
    text_depth: int = 12
    text_heads: int = 12
    text_ffn: int = 3072
    text_positions: int = 512
    vocab_size: int = 30522
    dropout: float = 0.1  # of the text layers; the image encoder has none
    tokenizer: str = "hf-hub:bert-base-uncased"  # or a folder with vocab.txt, or that file
    max_txt_len: int = 40
    pretraining: str | None = None  # weights to train from; heads that they lack stay fresh


@dataclass
class MomentumConfig(FusedConfig):
    """Momentum distillation (ALBEF, arXiv 2107.07651, section 3.4)."""

    momentum: float = 0.995
    alpha: float = 0.4  # share of the momentum targets after the ramp
    use_distill: bool = True


def check_sizes(config: FusedConfig) -> None:
    """Raises ConfigError where sizes do not divide."""
    for size, part in (("image_size", "patch_size"), ("vision_width", "vision_heads"), ("text_width", "text_heads")):
        whole, divisor = getattr(config, size) or 0, getattr(config, part)
        if whole < 1 or divisor < 1 or whole % divisor:
            raise ConfigError(f"model.{size} ({whole}) must be a positive multiple of model.{part} ({divisor})")
    if config.max_txt_len > config.text_positions:
        raise ConfigError(
            f"model.max_txt_len ({config.max_txt_len}) exceeds model.text_positions ({config.text_positions})"
        )


@dataclass
class RetrievalConfig(MomentumConfig):
    """Contrast with a queue, and matching."""

    max_txt_len: int = 30
    eval_txt_len: int = 35  # texts are cut later when they are ranked
    embed_dim: int = 256  # of the features that are compared
    queue_size: int = 65536
    temp: float = 0.07  # initial temperature, learned


@dataclass
class ClassifierConfig(FusedConfig):
    num_classes: int = 3


@dataclass
class VqaConfig(FusedConfig):
    """Questions go through the encoder, answers through a decoder."""

    max_txt_len: int = 35
    decoder_depth: int = 12
