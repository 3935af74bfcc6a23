"""Which rows of the text tower's matrices matter more to the captions of Df than to those of Dr."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F

from lavis.common.seed import generator
from lavis.common.transfer import to_device
from lavis.models.base import BaseModel
from lavis.trainers.persona import squared_distance

CHUNK, CHUNKS = 32, 8  # captions per gradient, and gradients of each set
FLOOR = 1e-3  # of the mean: rows that hardly matter to Dr do not win by that alone


def row_scores(
    original: BaseModel, counterfactual: Mapping[str, str], retained: Sequence[str], seed: int
) -> dict[str, torch.Tensor]:
    """By name, a score (rows,) of each matrix that captions go through, on the CPU.

    A row's squared gradients of sq(T(t_f), T(cf t_f)), divided by those of a random projection of T(t_r).
    counterfactual: forget captions t_f and what they become; retained: captions t_r.
    """
    model = copy.deepcopy(original).requires_grad_(True)
    draws = generator(seed, "row scores")
    changed = [squared_distance(_rows(model, part), _rows(model, [counterfactual[one] for one in part]))
               for part in _chunks(list(counterfactual))]  # fmt: skip
    random = [(rows * torch.randn(rows.shape, generator=draws).to(rows)).sum()
              for rows in (_rows(model, part) for part in _chunks(retained))]  # fmt: skip
    forget, keep = _fisher(model, changed), _fisher(model, random)
    known = {name: keep[name] + FLOOR * keep[name].mean() + 1e-12 for name in keep}
    return {name: forget[name] / known[name] for name in forget if forget[name].any()}


def _chunks(captions: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, min(len(captions), CHUNK * CHUNKS), CHUNK):
        yield captions[start : start + CHUNK]


def _rows(model: BaseModel, captions: Sequence[str]) -> torch.Tensor:
    tokens = to_device(model.tokenize(list(captions)), next(model.parameters()).device)
    return F.normalize(model.encode_text(tokens), dim=-1)


def _fisher(model: BaseModel, losses: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """The squared gradients of the losses, summed over each row of each matrix."""
    named = {name: p for name, p in model.named_parameters() if p.ndim == 2}
    total = {name: torch.zeros(len(p)) for name, p in named.items()}
    for loss in losses:
        found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        for name, one in zip(named, found, strict=True):
            total[name] += 0 if one is None else one.detach().pow(2).sum(1).cpu()
    return total
