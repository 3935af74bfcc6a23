"""A model under audit with its embeddings, and what is asked of it."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lavis.audit.material import Material, Sample, subset
from lavis.embedding.bank import FeatureBank
from lavis.embedding.embed import embed_captions, embed_images
from lavis.models.base import BaseModel
from lavis.runners.optim import build_optimizer
from lavis.salmubench.identity_mrr import pool_ranks
from lavis.settings.schema import RunConfig

TIMED, BATCH = 64, 32  # pairs to embed, and to train on, for the measurement


class Subject:
    """A model and the audit's material; each image and caption is embedded once.

    `original` is the model that unlearning started from, for attackers who have it.
    """

    def __init__(
        self,
        model: BaseModel,
        material: Material,
        run: RunConfig,
        device: torch.device,
        original: BaseModel | None = None,
    ) -> None:
        self.model, self.material, self.run, self.device, self.original = model, material, run, device, original
        self.bank = FeatureBank(model, material.builder, run, device)
        self.features: dict[Any, torch.Tensor] = {}

    def changed(self, model: BaseModel) -> Subject:
        """The same with another model."""
        return Subject(model, self.material, self.run, self.device, self.original)

    def copy(self) -> BaseModel:
        """A copy of the model that may be changed, in evaluation mode."""
        return copy.deepcopy(self.model).eval()

    def images(self, sample: Sample) -> torch.Tensor:
        """One row per caption, (n, D): its image."""
        if sample not in self.features:
            size, workers = self.run.batch_size_eval, self.run.num_workers
            rows = embed_images(self.model, sample.dataset, size, self.device, num_workers=workers, name="audit")
            self.features[sample] = rows[torch.from_numpy(sample.image_rows)]
        return self.features[sample]

    def texts(self, captions: Sequence[str]) -> torch.Tensor:
        """Rows (n, D) of captions."""
        return self.bank.texts(captions, "audit")

    def recall(self, sample: Sample, images: Any = None, texts: Any = None, rivals: Any = None) -> np.ndarray:
        """1/rank of each pair's caption among the pool without that person's captions, (n,).

        images, texts (n, D) and rivals (m, D, rows of the pool) replace the model's own embeddings.
        """
        pool = self.material.pool
        images = self.images(sample) if images is None else images
        texts = self.texts(sample.captions) if texts is None else texts
        rivals = self.texts(pool.texts) if rivals is None else rivals
        return 1 / pool_ranks(images, texts, sample.captions, sample.people, pool, rivals, own=False)


@dataclass(frozen=True)
class Timing:
    """Measured seconds: for one image and one caption to be embedded, and for one training step per pair."""

    image: float
    caption: float
    step: float

    def exam(self, material: Material) -> float:
        """Seconds to ask everything once: the pairs of Df, the control, and the pool."""
        pairs = len(material.asked) + (len(material.control) if material.control else 0)
        return self.image * pairs + self.caption * (len(material.pool.texts) + pairs)


def timed(subject: Subject) -> Timing:
    """Time the subject's model on a few pairs."""
    sample, size = subject.material.asked, subject.run.batch_size_eval
    few = {entry.image for entry in sample.dataset.entries[:TIMED]}
    part, captions = subset(sample.dataset, few), sample.captions[:TIMED]
    embed_images(subject.model, part, size, subject.device)  # the first pass allocates
    began = time.perf_counter()
    embed_images(subject.model, part, size, subject.device)
    seen = time.perf_counter()
    embed_captions(subject.model, captions, size, subject.device)
    read = time.perf_counter()
    pairs = list(range(min(BATCH, len(sample.dataset))))
    _step(subject, pairs)
    done = time.perf_counter()
    return Timing((seen - began) / len(part), (read - seen) / len(captions), (done - read) / len(pairs))


def _step(subject: Subject, rows: list[int]) -> None:
    model, dataset = subject.copy(), subject.material.asked.dataset
    model.requires_grad_(True)
    optimizer = build_optimizer(model, RunConfig(init_lr=1e-6), subject.device)
    inputs = model.prepare({"images": dataset.images(rows), "captions": [dataset.captions[i] for i in rows]})
    pairs = model.represent({k: v.to(subject.device) if isinstance(v, torch.Tensor) else v for k, v in inputs.items()})
    sum(model.pair_objective(pairs, None).values(), torch.zeros(())).backward()  # type: ignore[arg-type, union-attr]
    optimizer.step()
