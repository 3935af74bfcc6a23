"""Helpers for the tests of single methods."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from lavis.common.checkpoint import all_checkpoints, load_checkpoint
from lavis.common.features import PairFeatures
from tests.trainers.toy import batch, trainer

LN3 = torch.tensor(math.log(3.0), dtype=torch.float64)
X, Y = [1.0, 0.0], [0.0, 1.0]


def pairs(image, text) -> PairFeatures:
    return PairFeatures(torch.tensor(image, dtype=torch.float64), torch.tensor(text, dtype=torch.float64))


def eye_pairs() -> PairFeatures:
    """Two pairs with S = identity."""
    return pairs([X, Y], [X, Y])


def crossed_pairs() -> PairFeatures:
    """Two pairs whose captions are swapped: S = [[0, 1], [1, 0]]."""
    return pairs([X, Y], [Y, X])


def leaf_pairs(seed: int, rows: int = 4, width: int = 5):
    """Random pairs, and the two leaf tensors that receive their gradients."""
    draws = torch.Generator().manual_seed(seed)
    image, text = (torch.randn(rows, width, generator=draws, dtype=torch.float64, requires_grad=True) for _ in "it")
    return PairFeatures(image, text), (image, text)


def moved(term: torch.Tensor, leaves, rate: float = 0.05) -> list[torch.Tensor]:
    """The leaves after one step down the term's gradient."""
    grads = torch.autograd.grad(term, leaves, retain_graph=True)
    return [leaf.detach() - rate * grad for leaf, grad in zip(leaves, grads, strict=True)]


def stepped_trainer(method: str, **keys):
    """A trainer on two linear towers in eval mode, and a batch of four forget and four retain pairs."""
    subject = trainer(method, **keys)
    subject.model.eval()
    return subject, batch()


def steps_taken(folder: Path) -> int:
    """Optimiser steps taken up to the last checkpoint of a run folder."""
    states = load_checkpoint(all_checkpoints(folder)[-1])["optimizer"]["state"]
    return int(next(iter(states.values()))["step"])


def log_records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.txt").read_text().splitlines()]
