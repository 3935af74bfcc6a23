"""Small splits of generated images, and a model of two random projections."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from lavis.common.features import PairFeatures
from lavis.datasets.annotations import Entry
from lavis.datasets.pairs import PairDataset
from lavis.embedding.embed import SplitFeatures
from lavis.evaluation.context import PairContext
from lavis.evaluation.measure import measure
from lavis.processors.image import ClipImageEval
from lavis.processors.text import ClipCaption
from lavis.settings.schema import RunConfig

SIZE = 8


class FakeModel(torch.nn.Module):
    """Linear projections of letters and pixels; records its inputs."""

    features = PairFeatures

    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(1)
        self.dropout = torch.nn.Dropout(0.5)
        self.images = torch.nn.Parameter(torch.randn(3 * SIZE * SIZE, dim, generator=source))
        self.texts = torch.nn.Parameter(torch.randn(128, dim, generator=source))
        self.seen_images: list[int] = []
        self.seen_captions: list[str] = []

    def tokenize(self, captions: list[str]) -> torch.Tensor:
        self.seen_captions += captions
        return torch.tensor([[ord(c) % 128 for c in caption.ljust(12)[:12]] for caption in captions])

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        self.seen_images.append(len(images))
        return self.dropout(images.flatten(1).float() / 255) @ self.images

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.texts[tokens]).mean(dim=1)


def noise_pairs(root: Path, captions: list[tuple[str, ...]], seed: int = 0) -> PairDataset:
    """A data set of one noise image (SIZE × SIZE) per tuple of captions."""
    noise = np.random.default_rng(seed).integers(0, 256, (len(captions), SIZE, SIZE, 3), dtype=np.uint8)
    entries = [Entry(image=f"{seed}-{i}.png", captions=own) for i, own in enumerate(captions)]
    for entry, pixels in zip(entries, noise, strict=True):
        Image.fromarray(pixels).save(root / entry.image)
    return PairDataset(entries, root, ClipImageEval(image_size=SIZE), ClipCaption())


def splits(root: Path) -> dict[str, PairDataset]:
    """df: 9 images; dr: 31 images; test: several captions per image, some of them equal; a holdout split."""
    return {
        "df": noise_pairs(root, [(f"secret {i}",) for i in range(9)], seed=1),
        "dr": noise_pairs(root, [(f"public {i}",) for i in range(31)], seed=2),
        "test": noise_pairs(
            root, [(f"seen {i}", f"a thing {i % 3}") for i in range(7)] + [("one",), ("a thing 1",)], 3
        ),
        "holdout_identity": noise_pairs(root, [(f"held {i}",) for i in range(5)], seed=4),
    }


class FixedContext(PairContext):
    """A context of given features, without a data set."""

    def __init__(self, features: dict[str, SplitFeatures], run: RunConfig) -> None:
        builder = SimpleNamespace(metadata_root=Path("nowhere"), test_splits=run.test_splits)
        super().__init__(FakeModel(), builder, run, "cpu", {split: [] for split in features})
        self._features = features

    def prepare(self, extra=()) -> None:
        pass


def metrics_of(features: dict[str, SplitFeatures], run: RunConfig) -> dict[str, float]:
    """The metrics of `run` on these features."""
    return measure(FixedContext(features, run), run.metrics)
