"""The text encoder and decoder of ALBEF and BLIP: BERT layers with optional cross-attention to image states.

Post-norm, exact GELU, LayerNorm eps 1e-12, learned positions, no token types, no pooler (Devlin et al.,
arXiv 1810.04805; ALBEF, arXiv 2107.07651, section 3.1). A layer is self-attention, then cross-attention where it
has one and a context is given, then the feed-forward part; each is added to its input and normalised.

Masks are boolean, True where a position may be attended; None attends to all. They are honoured in
self-attention and in cross-attention. What a `context` is, only the cross-attention block knows: (B, N, W) states
of one encoder for `AttentionBlock`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lavis.models.fused.config import FusedConfig

EPSILON = 1e-12
Context = Any


@dataclass(frozen=True)
class TextSizes:
    """Sizes of a text tower; `context` is the width of the states that cross-attention reads."""

    vocab: int
    width: int
    depth: int
    heads: int
    ffn: int
    positions: int
    context: int
    dropout: float

    @classmethod
    def of(cls, config: FusedConfig) -> TextSizes:
        """The sizes in a configuration; the context is the image encoder's width."""
        text = {name: getattr(config, f"text_{name}") for name in ("width", "depth", "heads", "ffn", "positions")}
        return cls(vocab=config.vocab_size, context=config.vision_width, dropout=config.dropout, **text)


class Attention(nn.Module):
    """Multi-head attention of states (B, L, H) to a source (B, N, W), before the output projection."""

    def __init__(self, sizes: TextSizes, source_width: int) -> None:
        super().__init__()
        self.heads, self.dropout = sizes.heads, sizes.dropout
        self.query = nn.Linear(sizes.width, sizes.width)
        self.key = nn.Linear(source_width, sizes.width)
        self.value = nn.Linear(source_width, sizes.width)

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, states: torch.Tensor, source: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """`mask` is (B, 1, L or 1, N)."""
        query, key, value = (self._split(part) for part in (self.query(states), self.key(source), self.value(source)))
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, mask, dropout).transpose(1, 2).flatten(2)


class AddNorm(nn.Module):
    """LayerNorm(dense(x) + residual)."""

    def __init__(self, source_width: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(source_width, width)
        self.LayerNorm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dropout(self.dense(states)) + residual)


class AttentionBlock(nn.Module):
    """Attention, projected, added to its input and normalised. `source_width` None: self-attention."""

    def __init__(self, sizes: TextSizes, source_width: int | None = None) -> None:
        super().__init__()
        self.self = Attention(sizes, source_width or sizes.width)
        self.output = AddNorm(sizes.width, sizes.width, sizes.dropout)

    def forward(self, states: torch.Tensor, source: Context, mask: torch.Tensor | None) -> torch.Tensor:
        return self.output(self.self(states, source, mask), states)


class TextLayer(nn.Module):
    """One layer; `crossattention` is any block called as (states, context, context mask), or None."""

    def __init__(self, sizes: TextSizes, crossattention: nn.Module | None) -> None:
        super().__init__()
        self.attention = AttentionBlock(sizes)
        if crossattention is not None:
            self.crossattention = crossattention
        self.intermediate = named(dense=nn.Linear(sizes.width, sizes.ffn), activation=nn.GELU())
        self.output = AddNorm(sizes.ffn, sizes.width, sizes.dropout)

    def forward(
        self,
        states: torch.Tensor,
        mask: torch.Tensor | None,
        context: Context = None,
        context_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        states = self.attention(states, states, mask)
        if context is not None and hasattr(self, "crossattention"):
            states = self.crossattention(states, context, context_mask)
        return self.output(self.intermediate(states), states)


class Embeddings(nn.Module):
    """Word plus position embeddings, normalised."""

    position_ids: torch.Tensor

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.vocab, sizes.width)
        self.position_embeddings = nn.Embedding(sizes.positions, sizes.width)
        self.LayerNorm = nn.LayerNorm(sizes.width, eps=EPSILON)
        self.dropout = nn.Dropout(sizes.dropout)
        self.register_buffer("position_ids", torch.arange(sizes.positions)[None])

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        positions = self.position_embeddings(self.position_ids[:, : tokens.shape[1]])
        return self.dropout(self.LayerNorm(self.word_embeddings(tokens) + positions))


class TextEncoder(nn.Module):
    """Embeddings and layers. `cross` returns the cross-attention block of layer i, or None if it has none."""

    def __init__(self, sizes: TextSizes, cross: Callable[[int], nn.Module | None]) -> None:
        super().__init__()
        self.embeddings = Embeddings(sizes)
        layers = nn.ModuleList(TextLayer(sizes, cross(index)) for index in range(sizes.depth))
        self.encoder = nn.ModuleDict({"layer": layers})
        self.apply(_initialise)

    @property
    def depth(self) -> int:
        return len(self.layers)

    @property
    def layers(self) -> Any:
        return self.encoder["layer"]

    def forward(
        self,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        context: Context = None,
        context_mask: torch.Tensor | None = None,
        *,
        first: int = 0,
        last: int | None = None,
        causal: bool = False,
    ) -> torch.Tensor:
        """States (B, L, H) after layers first … last−1.

        Args:
            tokens: ids (B, L); or states (B, L, H), which go on from layer `first` ("fusion" mode).
            mask: (B, L), true on tokens, false on padding.
            context: what cross-attention reads; None leaves it out ("text" mode).
            context_mask: (B, N), true where the context may be attended; None attends to all of it.
            causal: position i sees positions ≤ i only (decoder).
        """
        states = tokens if tokens.is_floating_point() else self.embeddings(tokens)
        own, others = attend_mask(mask, causal), None if context_mask is None else attend_mask(context_mask)
        for index in range(first, self.depth if last is None else last):
            states = self.layers[index](states, own, self.context_of(index, context), others)
        return states

    def context_of(self, index: int, context: Context) -> Context:
        """The part of the context that layer `index` reads; all of it unless a model overrides this."""
        return context


def attend_mask(mask: torch.Tensor, causal: bool = False) -> torch.Tensor:
    """(B, N) padding mask to (B, 1, 1, N), or if causal to (B, 1, N, N), where position i sees positions ≤ i only."""
    allowed = mask.bool()[:, None, None, :]
    if not causal:
        return allowed
    length = mask.shape[1]
    return allowed & torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()


class Predictions(nn.Module):
    """Language-model head: dense, GELU, LayerNorm, then scores of the vocabulary with the tied word table."""

    def __init__(self, sizes: TextSizes, words: nn.Embedding) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(sizes.vocab))
        norm = nn.LayerNorm(sizes.width, eps=EPSILON)
        dense = nn.Linear(sizes.width, sizes.width)
        self.transform = named(dense=dense, activation=nn.GELU(), LayerNorm=norm)
        self.decoder = nn.Linear(sizes.width, sizes.vocab)
        self.apply(_initialise)
        self.decoder.weight, self.decoder.bias = words.weight, self.bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.transform(states))


class TextDecoder(nn.Module):
    """A causal text tower with cross-attention in every layer, and its language-model head."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.bert = TextEncoder(sizes, lambda index: AttentionBlock(sizes, sizes.context))
        self.cls = nn.ModuleDict({"predictions": Predictions(sizes, self.bert.embeddings.word_embeddings)})

    def forward(
        self,
        tokens: torch.Tensor,
        mask: torch.Tensor,
        context: torch.Tensor,
        context_mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Scores (B, L, vocabulary) of the token after each position."""
        return self.cls["predictions"](self.bert(tokens, mask, context, context_mask, causal=True))


def named(**parts: nn.Module) -> nn.Sequential:
    """A sequence whose parts have names."""
    return nn.Sequential(OrderedDict(parts))


def _initialise(module: nn.Module) -> None:
    """BERT's: N(0, 0.02²) weights, zero biases."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
