"""What a model makes of a batch, the currency between models, trainers and evaluation.

Three kinds: pairs of two towers, pairs whose texts also went through a fusion encoder, and the fused output alone.
Each says for itself what MultiDelete's terms compare, so that no trainer asks what it has:

| member | PairFeatures | FusedPairFeatures | FusedFeatures |
|---|---|---|---|
| relations (md) | S, Sᵀ | S, Sᵀ | fused |
| joint (multi) | normalise((I + T) / 2) | fused | fused |
| unimodal (uni) | I, T | I, T | image_states |
| unimodal_set | dr | dr | df |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F


@dataclass
class PairFeatures:
    """Image and text embeddings of B pairs, row i of one belonging to row i of the other.

    Both are (B, D) and L2-normalised; rows given with another length are normalised here, in single precision
    at least (a row that is already of unit length passes unchanged up to rounding, and gradients flow through).

    Raises ValueError when the two shapes differ or are not (B, D).
    """

    image: torch.Tensor
    text: torch.Tensor

    paired_towers: ClassVar[bool] = True  # image and text alone give S
    joint_of_towers: ClassVar[bool] = True  # and the joint representation too
    unimodal_set: ClassVar[str] = "dr"

    def __post_init__(self) -> None:
        if self.image.ndim != 2 or self.image.shape != self.text.shape:
            raise ValueError(
                f"paired features need two tensors of one shape (B, D), got {tuple(self.image.shape)} "
                f"for image and {tuple(self.text.shape)} for text"
            )
        self.image = F.normalize(single(self.image), dim=-1)
        self.text = F.normalize(single(self.text), dim=-1)

    @property
    def similarity(self) -> torch.Tensor:
        """S = I Tᵀ, (B, B), no temperature: row i holds image i against every text."""
        return self.image @ self.text.T

    @property
    def paired(self) -> torch.Tensor:
        """Cosine of every true pair, (B,)."""
        return (self.image * self.text).sum(dim=-1)

    @property
    def relations(self) -> tuple[torch.Tensor, ...]:
        """S and Sᵀ: what ties images to texts."""
        similarity = self.similarity
        return similarity, similarity.T

    @property
    def joint(self) -> torch.Tensor:
        """m = normalise((I + T) / 2), (B, D): the joint representation of a pair."""
        return F.normalize((self.image + self.text) / 2, dim=-1)

    @property
    def unimodal(self) -> tuple[torch.Tensor, ...]:
        """I and T."""
        return self.image, self.text

    def gathered(self, gather: Callable[[torch.Tensor], torch.Tensor]) -> PairFeatures:
        """The pairs of all processes; `gather` makes their rows of one's."""
        return PairFeatures(gather(self.image), gather(self.text))

    def with_text(self, text: torch.Tensor) -> PairFeatures:
        """The same images beside other texts (shuffled ones, say)."""
        return PairFeatures(self.image, text)

    def split(self, *sizes: int) -> list[PairFeatures]:
        """Consecutive parts of the given numbers of rows."""
        images, texts = self.image.split(sizes), self.text.split(sizes)
        return [PairFeatures(i, t) for i, t in zip(images, texts, strict=True)]


@dataclass
class FusedPairFeatures(PairFeatures):
    """Pairs of a fused encoder for retrieval: projected, normalised image and text (B, D), and `fused` (B, H).

    `fused` is the [CLS] of the text states after cross-attention to the own image.
    """

    fused: torch.Tensor

    joint_of_towers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fused = single(self.fused)

    @property
    def joint(self) -> torch.Tensor:
        """(B, H)."""
        return self.fused

    def split(self, *sizes: int) -> list[PairFeatures]:
        """Consecutive parts of the given numbers of rows."""
        pairs = zip(super().split(*sizes), self.fused.split(sizes), strict=True)
        return [FusedPairFeatures(pair.image, pair.text, fused) for pair, fused in pairs]


@dataclass
class FusedFeatures:
    """Output of a fused encoder: image states (B, …, N, H) and `fused`, the [CLS] of the fused text, (B, H).

    Raises ValueError when the numbers of rows differ.
    """

    image_states: torch.Tensor
    fused: torch.Tensor

    paired_towers: ClassVar[bool] = False
    joint_of_towers: ClassVar[bool] = False
    unimodal_set: ClassVar[str] = "df"

    def __post_init__(self) -> None:
        if len(self.image_states) != len(self.fused):
            raise ValueError(f"{len(self.image_states)} rows of image states and {len(self.fused)} fused rows")
        self.image_states, self.fused = single(self.image_states), single(self.fused)

    @property
    def relations(self) -> tuple[torch.Tensor, ...]:
        """The fused [CLS]: it changes when an image meets another text."""
        return (self.fused,)

    @property
    def joint(self) -> torch.Tensor:
        """(B, H)."""
        return self.fused

    @property
    def unimodal(self) -> tuple[torch.Tensor, ...]:
        """What the image encoder gives."""
        return (self.image_states,)

    def split(self, *sizes: int) -> list[FusedFeatures]:
        """Consecutive parts of the given numbers of rows."""
        parts = zip(self.image_states.split(sizes), self.fused.split(sizes), strict=True)
        return [FusedFeatures(states, fused) for states, fused in parts]


Features = PairFeatures | FusedFeatures


def single(tensor: torch.Tensor) -> torch.Tensor:
    """Half precision to single; other types as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
