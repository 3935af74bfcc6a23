"""Copies of a model whose weights are changed without any training: rounded, pruned, disturbed, mixed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch

Change = Callable[[str, torch.Tensor], torch.Tensor]


def changed_weights(model: Any, change: Change) -> Any:
    """A copy of the model with `change(name, weight)` in place of each weight of two or more dimensions."""
    result = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, weight in _matrices(result):
            weight.copy_(change(name, weight))
    return result


def rounded_to(weight: torch.Tensor, bits: int, group: int = 0) -> torch.Tensor:
    """The weight rounded to the nearest of 2^bits − 1 levels: one scale per row, or per `group` numbers of a row.

    w ≈ s·round(w/s),  s = max|w| / (2^(bits−1) − 1)
    """
    rows = weight.detach().float().flatten(1)
    pieces = rows.split(group, dim=1) if group else [rows]
    levels = 2 ** (bits - 1) - 1
    return torch.cat([_nearest(piece, levels) for piece in pieces], dim=1).view_as(weight).to(weight.dtype)


def pruned(weight: torch.Tensor, share: float) -> torch.Tensor:
    """The weight with this share of its numbers, the smallest by magnitude, set to zero."""
    size = weight.detach().abs().flatten()
    count = round(share * len(size))
    if not count:
        return weight.detach()
    return torch.where(weight.abs() > size.kthvalue(count).values, weight, torch.zeros_like(weight))


def _nearest(values: torch.Tensor, levels: int) -> torch.Tensor:
    scale = values.abs().amax(dim=1, keepdim=True) / levels
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return (values / scale).round() * scale


def _matrices(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    return ((name, weight) for name, weight in model.named_parameters() if weight.ndim > 1)
