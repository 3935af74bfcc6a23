"""A model under audit with its embeddings, and what is asked of it."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from lavis.audits.behaviour import Behaviour, behaviour
from lavis.audits.material import Material, Sample, subset
from lavis.embedding.bank import FeatureBank
from lavis.embedding.embed import embed_captions, embed_images, embed_pixels
from lavis.evaluation.inputs import embedding_problem
from lavis.models.base import BaseModel
from lavis.salmubench.identity_mrr import pool_ranks
from lavis.salmubench.relearning import relearn
from lavis.settings.schema import RelearnConfig, RunConfig

TIMED, BATCH = 64, 32  # pairs to embed, and to train on, for the measurement
Images = Callable[[Sample], torch.Tensor]  # gives one row per caption, (n, D): its image
Texts = Callable[[Sequence[str]], torch.Tensor]  # gives a row per caption, (n, D)


@dataclass
class Company:
    """Other models that an attacker may have.

    The `original`; by role or path what those do that `never` saw Df; and the `siblings`, unlearned with other seeds.
    floor: whether one of those that never saw Df is attacked as well; if not, the floor is what is said of the control.
    """

    original: BaseModel | None = None
    never: dict[str, Behaviour] = field(default_factory=dict)
    siblings: dict[str, Behaviour] = field(default_factory=dict)
    floor: bool = False


class Subject:
    """A model and the audit's material; each image and caption is embedded once."""

    def __init__(
        self, model: BaseModel, material: Material, run: RunConfig, device: torch.device, company: Company | None = None
    ) -> None:
        self.model, self.material, self.run, self.device = model, material, run, device
        self.company = company or Company()
        self.bank = FeatureBank(model, material.builder, run, device)
        self.features: dict[Any, torch.Tensor] = {}

    def changed(self, model: BaseModel) -> Subject:
        """The same with another model."""
        return Subject(model, self.material, self.run, self.device, self.company)

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

    def altered(self, sample: Sample, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """One row per caption, (n, D): its image after `change` of the pixels, uint8 (B, 3, S, S)."""
        dataset, size = sample.dataset, self.run.batch_size_eval

        def fetch(rows: range) -> torch.Tensor:
            return change(dataset.images(list(rows)))

        rows = embed_pixels(self.model, fetch, len(dataset), size, self.device, name="audit")
        return rows[torch.from_numpy(sample.image_rows)]

    @cached_property
    def behaviour(self) -> Behaviour:
        """What the model does with each pair."""
        control, pool = self.material.control, self.material.pool
        samples = [self.material.asked, *([control] if control else [])]
        parts = [(self.images(one), self.texts(one.captions), one.people, one.captions) for one in samples]
        return behaviour(parts, pool, self.texts(pool.texts), float(self.model.scale.detach()))

    @property
    def problem(self) -> str:
        """Why the embeddings of the pairs that are asked are unusable; empty if they are sound."""
        asked = self.material.asked
        rows = SimpleNamespace(image=self.images(asked), text=self.texts(asked.captions))
        return embedding_problem({"asked": rows})

    def texts(self, captions: Sequence[str]) -> torch.Tensor:
        """Rows (n, D) of captions."""
        return self.bank.texts(captions, "audit")

    @property
    def compared(self) -> Sample | None:
        """The control, where no model that never saw Df is the floor."""
        return None if self.company.floor else self.material.control

    def recall(
        self, sample: Sample, images: Images | None = None, texts: Texts | None = None, rivals: Any = None
    ) -> np.ndarray:
        """1/rank of each pair's caption among the pool without that person's captions, (n,).

        images, texts: what embeds them, in place of the model itself. rivals (m, D): the pool's rows by `texts`, if
        they are known already.
        """
        pool, read = self.material.pool, texts or self.texts
        rows = (images or self.images)(sample), read(sample.captions)
        rivals = read(pool.texts) if rivals is None else rivals
        return 1 / pool_ranks(*rows, sample.captions, sample.people, pool, rivals).apart


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
    seconds = _step_time(subject, pairs)
    return Timing((seen - began) / len(part), (read - seen) / len(captions), seconds / len(pairs))


def _step_time(subject: Subject, rows: list[int]) -> float:
    """Seconds of the second training step on these pairs; the first one allocates."""
    dataset = subject.material.asked.dataset
    lesson = subset(dataset, {dataset.entries[row].image for row in rows})
    settings = RelearnConfig(lr=1e-6, batch_size=BATCH)
    with torch.random.fork_rng():
        trained = relearn(subject.copy(), lesson, settings, subject.device, subject.run.attention)
        for _ in range(2):
            next(trained)
        began = time.perf_counter()
        next(trained)
        return time.perf_counter() - began
