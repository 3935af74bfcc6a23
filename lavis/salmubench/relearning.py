"""Relearning: how quickly forgotten pairs come back (ours; no published source).

A copy of the model is fine-tuned with the original objective on a small part of Df. After some steps, X (MRR among all
persona captions, own identity's other captions left out) is measured on the *other* pairs of Df, which the copy never
sees. A model that never knew them learns little about them this way; a model that only hides them shows them again.

AdamW without decay, constant rate, all parameters, single precision, images with the evaluation processor: nothing
depends on how the model was trained. The draws depend only on run.relearn.seed, so all models learn the same pairs.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from lavis.common import distributed
from lavis.common.errors import DataError, TrainingError
from lavis.common.files import dispensable, write_json
from lavis.common.precision import attention
from lavis.common.registry import registry
from lavis.common.seed import derived_seed, generator
from lavis.common.transfer import move
from lavis.datasets.annotations import Entry
from lavis.datasets.pairs import PairDataset
from lavis.embedding.embed import embed_captions, embed_entries
from lavis.evaluation.context import Context
from lavis.evaluation.metric import DECIMALS, RESIDUE, Column, Metric, need_two_towers
from lavis.models.base import BaseModel
from lavis.runners.loop import TrainingLoop
from lavis.salmubench.data import BenchmarkData
from lavis.salmubench.identity_mrr import caption_pool, pool_ranks
from lavis.salmubench.splits import identity_of
from lavis.settings.schema import RelearnConfig, RunConfig
from lavis.trainers.batch import Batch
from lavis.trainers.original import Original

NAME = "relearning"
FILE = "relearning.json"
GROUPS = ("", "_whole", "_partial")
Point = dict[str, float]


@registry.register_metric(NAME)
class Relearning(Metric):
    """The curve's values and mean height, for all and for whole identities; relearning.json has the curves."""

    columns = (
        Column(
            *("relearn_auc", "relearning AUC", "area under X while a tenth of the forget set is trained again"),
            groups=(RESIDUE,),
            order=40,
        ),
        Column("relearn_auc_whole", "relearning whole", "the same for whole identities", groups=(RESIDUE,), order=50),
    )
    files = (FILE,)
    order = 130

    def check(self, run: RunConfig, features: type) -> None:
        need_two_towers(NAME, features)

    def images(self, context: Context) -> Iterable[Sequence[Entry]]:
        return ()

    def __call__(self, context: Context) -> dict[str, float]:
        data, settings = context.shared(BenchmarkData), context.run.relearn
        taught, tested = draw(data.df, settings.fraction, settings.seed)
        exam = Exam(data, tested)
        points = _points(copy.deepcopy(context.model), exam, data.builder.dataset(taught, "eval"), settings)
        curves = {name: [point[name] for point in points] for name in exam.names}
        if context.folder is not None and distributed.is_main():
            facts = {**dataclasses.asdict(settings), "taught": len(taught), "asked": len(tested)}
            rounded = {name: [round(value, DECIMALS) for value in curve] for name, curve in curves.items()}
            with dispensable(context.folder / FILE):
                write_json(context.folder / FILE, facts | rounded)
        return _flat(list(settings.steps), curves)


def draw(df: Sequence[Entry], fraction: float, seed: int) -> tuple[list[Entry], list[Entry]]:
    """Divide Df: a seeded draw of this fraction of each identity's images (at least one), and the rest.

    The draw depends on the seed and the images' names, not on their order. Raises DataError if nothing would be left to
    test on, or a row has no identity.
    """
    own: dict[str, list[str]] = {}
    for image, identity in sorted((entry.image, identity_of(entry, "df")) for entry in df):
        own.setdefault(identity, []).append(image)
    taught: set[str] = set()
    for identity, images in own.items():
        order = np.random.default_rng(derived_seed(seed, NAME, identity)).permutation(len(images))
        taught |= {images[i] for i in order[: max(1, round(fraction * len(images)))]}
    tested = [entry for entry in df if entry.image not in taught]
    if len(taught) < 2 or not tested:
        raise DataError(
            f"{NAME}: {len(df)} forgotten images of {len(own)} people are too few to teach two and test others"
        )
    return [entry for entry in df if entry.image in taught], tested


class Exam:
    """Measures X and recall at 1 of a model on the pairs it was not taught, among all captions about people."""

    def __init__(self, data: BenchmarkData, tested: list[Entry]) -> None:
        self.run, self.device = data.run, data.context.device
        self.dataset = data.builder.dataset(tested, "eval")
        owners = [entry for entry in self.dataset.entries for _ in entry.captions]
        self.people = [identity_of(entry, "df") for entry in owners]
        groups = (None, data.whole, data.partial)
        members = [[i for i, entry in enumerate(owners) if g is None or entry.image in g] for g in groups]
        self.groups = {name: rows for name, rows in zip(GROUPS, members, strict=True) if rows}
        self.pool = data.context.shared(caption_pool)

    @property
    def names(self) -> list[str]:
        return [f"{value}{group}" for group in self.groups for value in ("x", "r1")]

    def take(self, model: BaseModel) -> Point:
        """{"x", "r1"}, also with "_whole" and "_partial" if there are such identities. Raises as `pool_ranks`."""
        size, workers = self.run.batch_size_eval, self.run.num_workers
        part = embed_entries(model, self.dataset, size, self.device, num_workers=workers, name=NAME)
        rows = embed_captions(model, self.pool.texts, size, self.device, name=NAME)
        image, captions = part.image[part.txt2img], self.dataset.captions
        ranks = pool_ranks(image, part.text, captions, self.people, self.pool, rows).apart
        values = {"x": 1 / ranks, "r1": ranks == 1}
        return {f"{v}{g}": float(values[v][rows].mean()) for g, rows in self.groups.items() for v in values}


def _points(student: BaseModel, exam: Exam, dataset: PairDataset, settings: RelearnConfig) -> list[Point]:
    """The exam after each of run.relearn.steps; NaN from the step at which the copy diverges."""
    points: list[Point] = []
    with torch.random.fork_rng(), attention(exam.run.attention):
        trained = relearn(student, dataset, settings, exam.device, exam.run.attention)
        done = next(trained)
        for step in settings.steps:
            try:
                while done < step:
                    done = next(trained)
                points.append(exam.take(student))
            except (DataError, TrainingError):
                missing = len(settings.steps) - len(points)
                return points + [dict.fromkeys(exam.names, math.nan)] * missing
    return points


def relearn(
    student: BaseModel,
    dataset: PairDataset,
    settings: RelearnConfig,
    device: torch.device,
    kernel: str = "auto",
    choose: Callable[[BaseModel], object] = lambda model: model.requires_grad_(True),
) -> Iterator[int]:
    """Train the model, the same on each process; yields the number of steps taken, from 0. Raises TrainingError.

    choose: says which parameters are trained.
    """
    run = RunConfig(init_lr=settings.lr, weight_decay=0.0, seed=settings.seed, attention=kernel)
    choose(student)
    loop = TrainingLoop(Original("original", student, run, device), lambda epoch, step: settings.lr, alone=True)
    done = 0
    while True:
        yield done
        student.train()
        loop.step(iter([_batch(student, dataset, settings, done, device)]), 0, done)
        done += 1


def _batch(model: BaseModel, dataset: PairDataset, settings: RelearnConfig, step: int, device: torch.device) -> Batch:
    """A seeded draw of distinct images, each with its first caption."""
    order = torch.randperm(len(dataset), generator=generator(settings.seed, NAME, step))
    rows = order[: settings.batch_size].tolist()
    captions = [dataset.captions[dataset.caption_ids(row)[0]] for row in rows]
    inputs = model.prepare({"images": dataset.images(rows), "captions": captions})
    return Batch({"dr": move(inputs, device)}, settings.seed, 0, step, device)


def _flat(steps: list[int], curves: dict[str, list[float]]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for group in GROUPS[:2]:
        if f"x{group}" in curves:
            heights = curves[f"x{group}"]
            metrics |= {f"relearn_x{group}_{step}": value for step, value in zip(steps, heights, strict=True)}
            metrics[f"relearn_auc{group}"] = mean_height(steps, heights)
    return metrics


def mean_height(steps: Sequence[float], values: Sequence[float]) -> float:
    """Area under a piecewise linear curve divided by its width; the value itself for a single point."""
    if len(steps) == 1:
        return values[0]
    from sklearn.metrics import auc  # numpy's own has another name before 2.0

    return float(auc(steps, values)) / (steps[-1] - steps[0])
