"""Small BLIP models with lively weights, their inputs, and transformers' BLIP text towers with the same weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.models.references import build

WORDS = 302
DEC, ENC, CLS, SEP, PAD = 300, 301, 2, 3, 0
TEXTS = ["a dog running on the grass", "the red car in the street near a tree", "two people"]


def lively(arch: str, seed: int = 0, **sizes: Any):
    """A small model whose weights, momentum copies included, differ enough for every mix-up to show."""
    torch.manual_seed(seed)
    model = build(arch, vocab_size=WORDS, **sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def image_batch(rows: int, seed: int = 0, each: tuple[int, ...] = ()) -> torch.Tensor:
    """uint8 (rows, …, 3, 32, 32)."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (rows, *each, 3, 32, 32), dtype=torch.uint8, generator=draw)


def weights_of(model: nn.Module, part: str) -> dict[str, torch.Tensor]:
    """State of one part by its own names, without the buffer that transformers does not save."""
    state = getattr(model, part).state_dict()
    return {name: value for name, value in state.items() if name.rsplit(".", 1)[-1] != "position_ids"}


def transformers_text(model: nn.Module, part: str) -> Any:
    """`text_encoder` or `text_decoder` as transformers builds it, with the model's weights.

    It is another program for the same function wherever no text is padded (it ignores the encoder's mask).
    """
    from transformers import BlipTextConfig
    from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel

    config = BlipTextConfig(
        vocab_size=WORDS,
        hidden_size=48,
        encoder_hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=6,
        num_attention_heads=4,
        max_position_embeddings=64,
        hidden_act="gelu",
        layer_norm_eps=1e-12,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        bos_token_id=DEC,
        eos_token_id=SEP,
        sep_token_id=SEP,
        pad_token_id=PAD,
        label_smoothing=0.1,
    )
    decoder = part == "text_decoder"
    other = BlipTextLMHeadModel(config) if decoder else BlipTextModel(config, add_pooling_layer=False)
    other.load_state_dict(weights_of(model, part))
    return other.eval()


def calls(modules: list[nn.Module], run) -> list[tuple[torch.Tensor, ...]]:
    """Positional arguments of every call of the modules while `run` runs, in order."""
    seen: list[tuple[torch.Tensor, ...]] = []
    handles = [module.register_forward_hook(lambda _module, given, _out: seen.append(given)) for module in modules]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return seen
