"""run.metrics=[..., relearning]: how quickly what was forgotten comes back (ours; no published source).

A copy of the model is fine-tuned with the original objective on a small part of Df; after some steps, X (MRR among all
persona captions, own identity's other captions left out) is taken on the *other* pairs of Df, which the copy is never
shown. A model that never knew them learns little of them that way; one that only hides them shows them again.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lavis.common import distributed
from lavis.common.errors import ConfigError, DataError, TrainingError
from lavis.common.features import PairFeatures
from lavis.common.files import write_json
from lavis.common.precision import attention
from lavis.common.schema import RelearnConfig
from lavis.common.seed import derived_seed, generator
from lavis.datasets.annotations import Entry
from lavis.datasets.builder import PairBuilder
from lavis.datasets.pairs import PairDataset
from lavis.embedding.embed import embed_captions, embed_entries
from lavis.evaluation.scores import RELEARNING
from lavis.losses.contrastive import contrastive_loss
from lavis.models.base import BaseModel
from lavis.salmubench.beside import caption_pool
from lavis.salmubench.material import Source
from lavis.salmubench.pool import pool_ranks
from lavis.salmubench.splits import identity_of

FILE = "relearning.json"
GROUPS = ("", "_whole", "_partial")
DECIMALS = 6
Point = dict[str, float]


def check_relearning(settings: RelearnConfig) -> None:
    """Raises ConfigError unless the settings of run.relearn make sense."""
    steps = list(settings.steps)
    if not steps or steps[0] < 0 or any(a >= b for a, b in zip(steps, steps[1:], strict=False)):
        raise ConfigError(f"run.relearn.steps must rise from 0 or more, found {steps}")
    if not 0 < settings.fraction < 1:
        raise ConfigError(f"run.relearn.fraction must lie between 0 and 1, found {settings.fraction}")
    if settings.lr <= 0 or not math.isfinite(settings.lr) or settings.batch_size < 2:
        raise ConfigError(f"run.relearn needs lr > 0 and batch_size >= 2, found {settings.lr}, {settings.batch_size}")


def relearning_metrics(
    model: BaseModel, builder: PairBuilder, run: Any, device: torch.device, folder: Path
) -> dict[str, float]:
    """ "relearn_x_<step>" for every step of run.relearn.steps, "relearn_auc" (mean height of that curve), both also
    "_whole" where Df has whole identities; fractions. The curves go to relearning.json in `folder`.

    AdamW without decay, constant rate, all parameters, single precision, pictures as evaluation sees them: nothing
    depends on how the model was made. The model itself is not changed. A copy that breaks leaves NaN from there on.
    Nothing unless run.metrics names it; a file of an earlier evaluation is then removed. All processes must call it
    together. Raises DataError for data that is not in SALMU's layout, ConfigError for a model without two towers.
    """
    if distributed.is_main():
        (folder / FILE).unlink(missing_ok=True)
    if RELEARNING not in run.metrics:
        return {}
    if model.features is not PairFeatures:
        raise ConfigError(f"run.metrics={RELEARNING} needs a model of two towers, such as clip")
    settings: RelearnConfig = run.relearn
    source = Source(model, builder, run, device)
    taught, asked = draw(_forget(source), settings.fraction, settings.seed)
    exam = Exam(source, run, device, asked)
    points = _points(copy.deepcopy(model), exam, builder.dataset(taught, "eval"), run, device)
    curves = {name: [point.get(name, math.nan) for point in points] for name in points[0]}
    if distributed.is_main():
        rounded = {name: [round(value, DECIMALS) for value in curve] for name, curve in curves.items()}
        write_json(folder / FILE, {**_settings(settings), "taught": len(taught), "asked": len(asked), **rounded})
    return _flat(list(settings.steps), curves)


def draw(df: Sequence[Entry], fraction: float, seed: int) -> tuple[list[Entry], list[Entry]]:
    """Df in two: a seeded draw of this fraction of every identity's pictures (one at least), and the rest.

    The draw depends on the seed and the pictures' names alone, not on their order. Raises DataError where nothing
    would be left to ask about, or a row has no identity.
    """
    own: dict[str, list[str]] = {}
    for image, identity in sorted((entry.image, identity_of(entry, "df")) for entry in df):
        own.setdefault(identity, []).append(image)
    taught: set[str] = set()
    for identity, images in own.items():
        order = np.random.default_rng(derived_seed(seed, RELEARNING, identity)).permutation(len(images))
        taught |= {images[i] for i in order[: max(1, round(fraction * len(images)))]}
    asked = [entry for entry in df if entry.image not in taught]
    if len(taught) < 2 or not asked:
        raise DataError(f"run.metrics=[{RELEARNING}]: a forget set of {len(df)} pictures is too small to be divided")
    return [entry for entry in df if entry.image in taught], asked


class Exam:
    """X and recall at 1 of any model on the pairs that it is asked about, among all captions about people."""

    def __init__(self, source: Source, run: Any, device: torch.device, asked: list[Entry]) -> None:
        self.run, self.device = run, device
        self.dataset = source.builder.dataset(asked, "eval")
        owners = [entry for entry in self.dataset.entries for _ in entry.captions]
        self.people = [identity_of(entry, "df") for entry in owners]
        groups = (None, source.whole, source.partial)
        chosen = [[i for i, entry in enumerate(owners) if g is None or entry.image in g] for g in groups]
        self.groups = {name: rows for name, rows in zip(GROUPS, chosen, strict=True) if rows}
        self.pool = caption_pool(source)

    @property
    def names(self) -> list[str]:
        return [f"{value}{group}" for group in self.groups for value in ("x", "r1")]

    def take(self, model: BaseModel) -> Point:
        """{"x", "r1", and both "_whole" and "_partial" where there are such identities}. Raises as `pool_ranks`."""
        size, workers = self.run.batch_size_eval, self.run.num_workers
        found = embed_entries(model, self.dataset, size, self.device, num_workers=workers, name=RELEARNING)
        rows = embed_captions(model, self.pool.texts, size, self.device, name=RELEARNING)
        image, captions = found.image[found.txt2img], self.dataset.captions
        ranks = pool_ranks(image, found.text, captions, self.people, self.pool, rows, own=False)
        values = {"x": 1 / ranks, "r1": ranks == 1}
        return {f"{v}{g}": float(values[v][rows].mean()) for g, rows in self.groups.items() for v in values}


def _forget(source: Source) -> list[Entry]:
    builder = source.builder
    return builder.partition().df if builder.config.forget_list else source.splits["forget"]


def _points(student: BaseModel, exam: Exam, dataset: PairDataset, run: Any, device: torch.device) -> list[Point]:
    """The exam after every step of run.relearn.steps; NaN once the copy is broken."""
    points: list[Point] = []
    with torch.random.fork_rng(), attention(run.attention):
        trained = _trained(student, dataset, run, device)
        done = next(trained)
        for step in run.relearn.steps:
            try:
                while done < step:
                    done = next(trained)
                points.append(exam.take(student))
            except (DataError, TrainingError):
                missing = len(run.relearn.steps) - len(points)
                return points + [dict.fromkeys(exam.names, math.nan)] * missing
    return points


def _trained(student: BaseModel, dataset: PairDataset, run: Any, device: torch.device) -> Iterator[int]:
    """Train the copy; yields the number of steps that it has taken, 0 first. Raises TrainingError on a loss of NaN."""
    settings: RelearnConfig = run.relearn
    weights, fused = list(student.requires_grad_(True).parameters()), device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(weights, lr=settings.lr, weight_decay=0.0, fused=fused)
    done = 0
    while True:
        yield done
        torch.manual_seed(derived_seed(settings.seed, RELEARNING, "forward", done))
        student.train()
        loss = _loss(student, dataset, settings, done, device)
        if not torch.isfinite(loss):
            raise TrainingError(f"{RELEARNING}: the loss is not finite at step {done}")
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        student.clamp_scale()
        done += 1


def _loss(
    model: BaseModel, dataset: PairDataset, settings: RelearnConfig, step: int, device: torch.device
) -> torch.Tensor:
    """CLIP's contrastive loss of a seeded draw of distinct pictures with their captions; equal captions are right."""
    order = torch.randperm(len(dataset), generator=generator(settings.seed, RELEARNING, step))
    rows = order[: settings.batch_size].tolist()
    captions = [dataset.captions[dataset.caption_ids(row)[0]] for row in rows]
    image = model.encode_image(dataset.images(rows).to(device))
    text = model.encode_text(model.tokenize(captions).to(device))
    groups = torch.tensor([captions.index(caption) for caption in captions], device=device)
    return contrastive_loss(PairFeatures(image, text), model.scale, groups)


def _flat(steps: list[int], curves: dict[str, list[float]]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for group in GROUPS[:2]:
        if f"x{group}" in curves:
            heights = curves[f"x{group}"]
            metrics |= {f"relearn_x{group}_{step}": value for step, value in zip(steps, heights, strict=True)}
            metrics[f"relearn_auc{group}"] = mean_height(steps, heights)
    return {name: round(value, DECIMALS) for name, value in metrics.items()}


def mean_height(steps: Sequence[float], values: Sequence[float]) -> float:
    """Area under a curve of straight lines by the trapezoid rule, divided by its width; a lone point's own value."""
    if len(steps) == 1:
        return values[0]
    return float(np.trapezoid(values, steps)) / (steps[-1] - steps[0])


def _settings(settings: RelearnConfig) -> dict[str, Any]:
    return {
        "steps": list(settings.steps),
        "fraction": settings.fraction,
        "lr": settings.lr,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
    }
