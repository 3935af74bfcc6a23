"""The settings of fused encoders: the part of `model:` that ALBEF and BLIP share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lavis.common.errors import ConfigError
from lavis.settings.conditions import chooses_epoch
from lavis.settings.declaration import NOTHING, RESULTS, setting
from lavis.settings.schema import ModelConfig


@dataclass(frozen=True)
class FusedConfig(ModelConfig):
    """Defaults are those of the public base models."""

    image_size: int | None = setting(384, "pixels along each side of an image", least=1, most=8192)
    model_type: str = setting("", "a type that lavis/configs/models/<arch>.yaml names: settings and published weights")
    args: dict[str, Any] = setting(
        {}, "further arguments of the architecture", affects=NOTHING, ignored="every size has a key of its own"
    )
    patch_size: int = setting(16, "pixels along each side of a patch", least=1)
    vision_width: int = setting(768, "width of the image encoder", least=1)
    vision_depth: int = setting(12, "layers of the image encoder", least=1)
    vision_heads: int = setting(12, "attention heads of the image encoder", least=1)
    text_width: int = setting(768, "width of the text layers", least=1)
    text_depth: int = setting(12, "text layers", least=1)
    text_heads: int = setting(12, "attention heads of the text layers", least=1)
    text_ffn: int = setting(3072, "inner width of the text layers' MLP", least=1)
    text_positions: int = setting(512, "rows of the text's position table", least=1)
    vocab_size: int = setting(30522, "words of the tokenizer", least=1)
    dropout: float = setting(0.1, "dropout of the text layers; the image encoder has none", least=0, below=1)
    tokenizer: str = setting("hf-hub:bert-base-uncased", "hf-hub:<name>, a folder with vocab.txt, or that file")
    max_txt_len: int = setting(40, "texts are cut after so many tokens", least=1)
    pretraining: str | None = setting(None, "weights to train from; heads that they lack stay fresh")

    def __post_init__(self) -> None:
        """Raises ConfigError unless sizes are divisible."""
        super().__post_init__()
        pairs = (("image_size", "patch_size"), ("vision_width", "vision_heads"), ("text_width", "text_heads"))
        for size, part in pairs:
            whole, divisor = getattr(self, size) or 0, getattr(self, part)
            if whole < 1 or divisor < 1 or whole % divisor:
                raise ConfigError(f"model.{size} ({whole}) must be a positive multiple of model.{part} ({divisor})")
        if self.max_txt_len > self.text_positions:
            raise ConfigError(
                f"model.max_txt_len ({self.max_txt_len}) exceeds model.text_positions ({self.text_positions})"
            )


@dataclass(frozen=True)
class MomentumConfig(FusedConfig):
    """Momentum distillation (ALBEF, arXiv 2107.07651, section 3.4)."""

    momentum: float = setting(0.995, "share of its former weights that a momentum copy keeps", least=0, most=1)
    alpha: float = setting(0.4, "share of the momentum targets after the ramp", least=0, most=1)
    use_distill: bool = setting(True, "learn from the momentum copies' targets")


@dataclass(frozen=True)
class AlbefConfig(FusedConfig):
    """ALBEF's text layers read text alone at first, the last ones also the image."""

    fusion_layer: int = setting(6, "the first text layer that reads the image", least=1)

    def __post_init__(self) -> None:
        """Raises ConfigError unless text and fusion both have layers."""
        super().__post_init__()
        if not 0 < self.fusion_layer < self.text_depth:
            raise ConfigError(
                f"model.fusion_layer ({self.fusion_layer}) must lie between 1 and model.text_depth − 1 "
                f"({self.text_depth - 1})"
            )


@dataclass(frozen=True)
class RetrievalConfig(MomentumConfig):
    """Contrast with a queue, and matching."""

    max_txt_len: int = setting(30, "texts are cut after so many tokens in training", least=1)
    eval_txt_len: int = setting(
        35,
        "texts are cut after so many tokens when they are ranked",
        least=1,
        affects=RESULTS,
        weights_if=chooses_epoch,
    )
    embed_dim: int = setting(256, "width of the features that are compared", least=1)
    queue_size: int = setting(65536, "features in the queue", least=1)
    temp: float = setting(0.07, "temperature at the start; it is learned", above=0, most=1000)


@dataclass(frozen=True)
class ClassifierConfig(FusedConfig):
    """A head over classes."""

    num_classes: int = setting(3, "classes", least=2)


@dataclass(frozen=True)
class DistilledConfig(ClassifierConfig, MomentumConfig):
    """Classes learned with momentum distillation."""


@dataclass(frozen=True)
class VqaConfig(FusedConfig):
    """Questions go through the encoder, answers through a decoder."""

    max_txt_len: int = setting(35, "questions are cut after so many tokens", least=1)
    decoder_depth: int = setting(12, "layers of the decoder", least=1)
