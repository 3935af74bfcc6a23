"""Random features, and cosines by loops."""

from __future__ import annotations

import math

import numpy as np
import torch

from lavis.evaluation.context import PairContext
from lavis.evaluation.measure import measure
from lavis.salmubench.data import BenchmarkData


def rows(n: int, dim: int = 5, seed: int = 0) -> np.ndarray:
    """Rows of any length."""
    return np.random.default_rng(seed).normal(size=(n, dim))


def cosine(a, b) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))


class Projection(torch.nn.Module):
    """Random projections of pixels and letters; `break_image` and `break_text` may replace an encoder's output."""

    def __init__(self) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(3)
        self.images, self.texts = (torch.randn(n, 12, generator=source) for n in (3 * 8 * 8, 128 * 40))
        self.break_image = self.break_text = lambda rows: rows

    def tokenize(self, captions):
        return torch.tensor([[ord(c) % 128 for c in text.ljust(40)[:40]] for text in captions])

    def encode_image(self, images):
        small = torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, 8).flatten(1)
        return self.break_image(small @ self.images)

    def encode_text(self, tokens):
        return self.break_text(self.texts[tokens + 128 * torch.arange(40)].mean(dim=1))


def context_of(model, builder, run=None) -> PairContext:
    """A model on a data set, without the evaluated splits."""
    return PairContext(model, builder, run or builder.run, "cpu", {})


def benchmark_of(model, builder, run=None) -> BenchmarkData:
    """The benchmark for this model."""
    return context_of(model, builder, run).shared(BenchmarkData)


def salmubench_metrics(model, builder, run=None) -> dict[str, float]:
    """The metrics of run.metrics=[salmubench]."""
    return measure(context_of(model, builder, run), ["salmubench"])
