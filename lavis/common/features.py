"""A model's output for a batch, shared by models, trainers and evaluation.

There are three kinds: pairs from two towers, pairs whose texts also went through a fusion encoder, and the fused output
alone. Each defines what MultiDelete's terms compare, so that no trainer depends on the kind:

| member | PairFeatures | FusedPairFeatures | FusedFeatures |
|---|---|---|---|
| relations (md) | S, Sᵀ | S, Sᵀ | fused |
| joint (multi) | normalise((I + T) / 2) | fused | fused |
| unimodal (uni) | I, T | I, T | image_states |
| unimodal_set | dr | dr | df |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
import torch.nn.functional as F


@dataclass
class PairFeatures:
    """Image and text embeddings of B pairs, row by row, both (B, D) and L2-normalised.

    Rows are normalised here, at least in single precision and with gradient; unit rows change only by rounding. Raises
    ValueError if the shapes differ or are not (B, D).
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
        """S = I Tᵀ, (B, B), without temperature: row i compares image i with all texts."""
        return self.image @ self.text.T

    @property
    def paired(self) -> torch.Tensor:
        """Cosine of each true pair, (B,)."""
        return (self.image * self.text).sum(dim=-1)

    @property
    def relations(self) -> tuple[torch.Tensor, ...]:
        """S and Sᵀ, which connect images and texts."""
        similarity = self.similarity
        return similarity, similarity.T

    @property
    def joint(self) -> torch.Tensor:
        """m = normalise((I + T) / 2), (B, D): a pair's joint representation."""
        return F.normalize((self.image + self.text) / 2, dim=-1)

    @property
    def unimodal(self) -> tuple[torch.Tensor, ...]:
        """I and T."""
        return self.image, self.text

    def gathered(self, gather: Callable[[torch.Tensor], torch.Tensor]) -> PairFeatures:
        """The pairs of all processes; `gather` maps one process's rows to those of all."""
        return PairFeatures(gather(self.image), gather(self.text))

    def with_text(self, text: torch.Tensor) -> PairFeatures:
        """The same images with other texts, such as shuffled ones."""
        return PairFeatures(self.image, text)

    def split(self, *sizes: int) -> list[PairFeatures]:
        """Consecutive parts with these numbers of rows."""
        return _split(self, sizes)


@dataclass
class FusedPairFeatures(PairFeatures):
    """Pairs of a fused retrieval encoder. `fused` (B, H): [CLS] of the text after cross-attention to its image."""

    fused: torch.Tensor

    joint_of_towers: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.fused = single(self.fused)

    @property
    def joint(self) -> torch.Tensor:
        """(B, H)."""
        return self.fused


@dataclass
class FusedFeatures:
    """Output of a fused encoder: image states (B, …, N, H) and `fused`, the [CLS] of the fused text, (B, H).

    Raises ValueError if the numbers of rows differ.
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
        """The fused [CLS], which changes when an image gets another text."""
        return (self.fused,)

    @property
    def joint(self) -> torch.Tensor:
        """(B, H)."""
        return self.fused

    @property
    def unimodal(self) -> tuple[torch.Tensor, ...]:
        """The output of the image encoder."""
        return (self.image_states,)

    def split(self, *sizes: int) -> list[FusedFeatures]:
        """Consecutive parts with these numbers of rows."""
        return _split(self, sizes)


Features = PairFeatures | FusedFeatures


def _split(features: Any, sizes: tuple[int, ...]) -> list[Any]:
    parts = (getattr(features, field.name).split(sizes) for field in fields(features))
    return [type(features)(*tensors) for tensors in zip(*parts, strict=True)]


def single(tensor: torch.Tensor) -> torch.Tensor:
    """Half precision to single; other types unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
