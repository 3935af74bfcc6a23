"""Maps from text to image space, fitted on pairs that are not in the forget set."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from lavis.audits.material import Sample
from lavis.audits.subject import Subject, Texts
from lavis.common.seed import generator

BATCH, RATE, SCALE = 256, 1e-3, 30.0
STEP_SECONDS = 0.003  # of one step, measured on one core with 128 dimensions
Map = Callable[[torch.Tensor], torch.Tensor]


def procrustes(text: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """The rotation (D, D) that brings text rows (n, D) nearest to their image rows (n, D)."""
    u, _, v = torch.linalg.svd(text.double().T @ image.double())
    return (u @ v).to(text.dtype)


def fitted(
    network: nn.Module, text: torch.Tensor, image: torch.Tensor, pairs: Sample, steps: int, subject: Subject
) -> Map:
    """Train a small network on text rows so that they find their image rows; returns what it does to text rows.

    Captions that are equal count as each other's right partner.
    """
    network = network.to(text.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.0)
    numbers: dict[str, int] = {}
    groups = torch.tensor([numbers.setdefault(caption, len(numbers)) for caption in pairs.captions])
    for step in range(steps):
        draws = generator(subject.material.seed, "audit map", step)
        rows = torch.randperm(len(text), generator=draws)[:BATCH]
        scores = SCALE * image[rows] @ F.normalize(network(text[rows]), dim=-1).T
        loss = _soft_targets(scores, groups[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval().requires_grad_(False)
    return network


def mapped(subject: Subject, change: Map) -> Texts:
    """What gives captions' rows after `change`, of unit length."""
    return lambda captions: F.normalize(change(subject.texts(captions)), dim=-1)


def _soft_targets(scores: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """Contrastive loss of both directions; scores (B, B), groups (B,) equal for equal captions."""
    same = (groups[:, None] == groups[None]).float()
    target = same / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
