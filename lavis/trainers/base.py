"""What all methods share: the teacher, embedding a batch, the weighted sum of the terms, the check that it is finite.

A method's file contains its equation (`terms`) and settings; nothing here depends on the method or backbone.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from lavis.common.errors import ConfigError, TrainingError, suggest
from lavis.common.features import Features, PairFeatures
from lavis.common.precision import computing
from lavis.common.seed import derived_seed
from lavis.models.base import BaseModel, join
from lavis.settings.conditions import ORIGINAL
from lavis.settings.declaration import setting
from lavis.settings.schema import RunConfig
from lavis.settings.validation import build
from lavis.trainers.anchor import Anchor
from lavis.trainers.batch import Batch
from lavis.trainers.parts import check_original, check_parts, check_reached
from lavis.trainers.saliency import Held
from lavis.trainers.teacher import Teacher


def _gathered(features: Features, batch: Batch) -> PairFeatures:
    """The pairs of all processes' batches, with gradient."""
    assert isinstance(features, PairFeatures), "run.gather_similarity is refused for models without towers"
    return features.gathered(batch.of_all)


class BatchFeatures:
    """Features of the forget batch, `.df`, and of the retain batch, `.dr`, computed when first read."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self._cache: dict[str, Any] = {}

    def _compute(self, name: str) -> Features:
        raise NotImplementedError

    def _get(self, name: str) -> Any:
        if name not in self._cache:
            self._cache[name] = self._compute(name)
        return self._cache[name]

    @property
    def df(self) -> Any:
        return self._get("df")

    @property
    def dr(self) -> Any:
        return self._get("dr")


class TeacherFeatures(BatchFeatures):
    """The original model's features; `.df_shuffled` pairs the forget images with each other's captions.

    A live teacher computes in the student's precision and, as the student does, all sets in one pass.
    """

    def __init__(self, trainer: BaseTrainer, teacher: Teacher, batch: Batch) -> None:
        super().__init__(batch)
        self.trainer, self.teacher = trainer, teacher

    def _compute(self, name: str) -> Features:
        batch = self.batch
        if name == "shuffled" and batch.gather:
            return self.df.with_text(self.df.text[batch.permutation])
        source, order = ("df", batch.permutation) if name == "shuffled" else (name, None)
        if source in self.teacher.towers:
            image, text = self._rows[source]
            features: Features = PairFeatures(image, text if order is None else text[order])
        else:
            with self.trainer.computing():
                features = self.teacher.whole(batch.sets[source], order)
        return _gathered(features, batch) if batch.gather else features

    @functools.cached_property
    def _rows(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """The towers' embeddings of all sets that the method reads."""
        names = [name for name in self.trainer.teacher_sets if name in self.teacher.towers]
        with self.trainer.computing():
            return self.teacher.rows({name: self.batch.sets[name] for name in names}, self.batch.epoch)

    @property
    def df_shuffled(self) -> Any:
        return self._get("shuffled")


class Student(BatchFeatures):
    """The model in training on one micro-batch: its features (all sets in one forward pass), its original objective."""

    def __init__(self, trainer: BaseTrainer, batch: Batch) -> None:
        super().__init__(batch)
        self.trainer = trainer

    def _compute(self, name: str) -> Features:
        sets = self.trainer.sets
        assert name in sets, f"this method's `sets` lacks '{name}'"
        with self.trainer.computing():
            features = self.trainer.model(join([self.batch.sets[one] for one in sets]))
        parts = features.split(*map(self.batch.size, sets))
        if self.batch.gather:
            parts = [_gathered(part, self.batch) for part in parts]
        self._cache.update(zip(sets, parts, strict=True))
        return self._cache[name]

    def objective(self, name: str, share_equal: bool = True) -> dict[str, torch.Tensor]:
        """Terms of the original objective on one set; `share_equal`: equal captions are not each other's negatives."""
        groups = {"caption_groups": self.batch.caption_groups(name)} if share_equal else {}
        if self.batch.gather:
            return self.trainer.model.pair_objective(self._get(name), groups.get("caption_groups"))
        with self.trainer.computing():
            return self.trainer.model.objective({**self.batch.sets[name], **groups}, self.batch.progress)


@dataclass(frozen=True)
class NoParams:
    """For methods whose only hyper-parameters are the weights of their terms."""


@dataclass(frozen=True)
class EqualCaptions:
    """The hyper-parameter of objectives with in-batch negatives."""

    share_equal: bool = setting(
        True, "rows with the same caption count as each other's right partner, not as negatives of each other"
    )


class BaseTrainer:
    """A method: its terms, their weights, and the data it needs.

    Raises ConfigError for a weight or hyper-parameter that the method does not have.
    """

    params_class: ClassVar[type] = NoParams  # a dataclass of hyper-parameters, filled from run.method_args
    all_terms: ClassVar[tuple[str, ...]]
    sets: ClassVar[tuple[str, ...]] = ("df", "dr")  # the batches of a step
    sides: ClassVar[tuple[str, ...]] = ("image", "text")  # the sides of its batches that it embeds as they are
    needs_teacher: ClassVar[bool] = True
    needs_fiction: ClassVar[bool] = False
    fiction: Any = None  # captions about people who do not exist; set by the task if the method needs them
    needs_pairs: ClassVar[bool] = False  # defined on S: not for models without towers
    teacher_sets: ClassVar[tuple[str, ...]] = ("df", "dr")  # whose teacher features it reads
    joint_of_teacher: ClassVar[tuple[str, ...]] = ()  # of these the teacher's joint representation
    trains_scale: ClassVar[bool] = False  # whether it learns the temperature
    starts_from: ClassVar[str] = "original"  # "initial": start as original training does; Dr is what `retrained` sees
    redraws: ClassVar[bool] = False  # replaces weights before the first step
    makes_model: ClassVar[bool] = False  # as any training: statistics are learnt, random layers are active
    runner: ClassVar[str | None] = None  # replaces run.runner
    gathers: ClassVar[bool] = True  # whether run.gather_similarity is defined for it
    reads: ClassVar[frozenset[str]] = frozenset()  # the optional run settings that it reads, such as "alpha"

    def __init__(self, method: str, model: BaseModel, run: RunConfig, device: torch.device) -> None:
        self.method, self.model, self.run, self.device = method, model, run, device
        self._check_gather(method, run, type(model))
        self.active = self.terms_of(method)
        self.params = self.params_of(run)
        self.weights = self._weights(method, run.weights)
        self.teacher: Teacher | None = None
        self.files: dict[str, str] = {}  # the data's files -> digest; set by the task
        self.sources: dict[str, str] = {}  # what it reads besides its batches -> digest; set by the task
        self.samples: dict[str, Any] = {}  # pairs of Df and Dr for run.select and run.anchor; set by the task
        self.anchor: Anchor | None = None  # run.anchor's terms; set by the runner, like `held`
        self.held: Held | None = None  # the weights that run.select leaves as they are
        if not self.trains_scale:
            for parameter in model.scale_parameters():
                parameter.requires_grad_(False)

    @classmethod
    def check(cls, method: str, run: RunConfig, model: type[BaseModel] | None = None) -> None:
        """Refuse hyper-parameters, weights and backbones that do not fit the method, before anything is built."""
        cls.params_of(run)
        cls._weights(method, run.weights)
        cls._check_gather(method, run, model)
        kind = {"fresh": cls.starts_from == "initial" or method == ORIGINAL, "once": cls.runner == "once"}
        check_parts(run, model, **kind)
        check_original(run, method, **kind, rewrites=cls.rewrites(run))
        if cls.needs_pairs and model is not None and not model.features.paired_towers:
            raise ConfigError(
                f"'{method}' needs similarities of image and text embeddings, which this backbone does not have for "
                "this task; methods that do not: vlul and its parts (vlul-md, …), ft, neggrad, dtd, retrain"
            )

    @classmethod
    def _check_gather(cls, method: str, run: RunConfig, model: type[BaseModel] | None) -> None:
        pairs = model is None or (model.features.paired_towers and model.features.joint_of_towers)
        if run.gather_similarity and not (pairs and cls.gathers and cls.runner != "once"):
            raise ConfigError(
                "run.gather_similarity is defined for two-tower models and methods on batch similarities, not for "
                f"'{method}' on this backbone; set it to false"
            )

    @classmethod
    def terms_of(cls, method: str) -> tuple[str, ...]:
        """The terms in the loss of this registered name (ablations name some of them)."""
        return cls.all_terms

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        """The method's named scalars, unweighted."""
        raise NotImplementedError

    def entries(self, name: str, entries: list[Any]) -> list[Any]:
        """The annotation entries to train on for the set "df" or "dr"; a method may replace their captions."""
        return entries

    @classmethod
    def rewrites(cls, run: RunConfig) -> str:
        """Which weights it replaces other than by training, in words; "" for none."""
        return ""

    def once(self) -> dict[str, torch.Tensor]:
        """For runner "once": the whole method, without gradients. Changes the weights, returns scalars for the log."""
        raise NotImplementedError

    @property
    def scale(self) -> torch.Tensor:
        """The student's temperature multiplier."""
        return self.model.scale

    @property
    def bias(self) -> torch.Tensor | None:
        """The student's bias of the sigmoid loss; None where it is trained with softmax."""
        return self.model.bias

    @property
    def reads_each_loss(self) -> bool:
        """Whether each loss is checked at once. On a CPU this costs nothing; on a GPU the host would wait for it."""
        return self.device.type == "cpu"

    def begin(self) -> None:
        """Set the model's mode, before the first step and whenever it has been evaluated."""
        if self.makes_model:
            self.model.train()
        else:
            self.model.unlearning_mode()

    def attach_teacher(self, teacher: Teacher | None) -> None:
        self.teacher = teacher

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Weighted sum (scalar, with gradient) and the unweighted terms (detached) of one micro-batch.

        Raises TrainingError naming a term that is not finite, unless `reads_each_loss` leaves the check to the runner.
        """
        # Dropout depends on the micro-batch only, so that a resumed run draws what an uninterrupted one does.
        torch.manual_seed(derived_seed(self.run.draw_seed, "forward", batch.epoch, batch.number))
        teacher: Any = None if self.teacher is None else TeacherFeatures(self, self.teacher, batch)
        terms = self.terms(Student(self, batch), teacher, batch)
        assert set(self.active) <= set(terms), f"{self.method} lacks the terms {set(self.active) - set(terms)}"
        total = torch.stack([self.weights[name] * terms[name] for name in self.active]).sum()
        check_reached(total, self.method)
        if self.run.anchor.weights:
            assert self.anchor is not None, "the runner attaches the terms of run.anchor"
            total, terms = self.anchor.added(total, terms)
        if self.reads_each_loss and not torch.isfinite(total):
            raise TrainingError(self._not_finite(terms, batch))
        return total, {name: term.detach() for name, term in terms.items()}

    def computing(self) -> contextlib.AbstractContextManager:
        """A forward pass in here uses the run's precision and attention kernel."""
        return computing(self.run, self.device)

    def _not_finite(self, terms: dict[str, torch.Tensor], batch: Batch) -> str:
        names = [*self.active, *self.run.anchor.weights]
        bad = [f"{name} = {float(terms[name].detach())}" for name in names if not torch.isfinite(terms[name])]
        return (
            f"loss of '{self.method}' is not finite ({', '.join(bad) or 'the weighted sum'}) at epoch {batch.epoch}, "
            f"micro-batch {batch.number}; the optimiser has not stepped. Lower run.init_lr or the weight of that term, "
            "or set run.max_grad_norm=1"
        )

    @classmethod
    def params_of(cls, run: RunConfig) -> Any:
        """The method's own settings. Raises ConfigError for unknown keys and impossible values."""
        return build(cls.params_class, run.method_args, "run.method_args")

    @classmethod
    def _weights(cls, method: str, given: dict[str, float]) -> dict[str, float]:
        for key in given:
            if key not in cls.all_terms:
                hint = suggest(str(key), cls.all_terms)
                raise ConfigError(f"run.weights: '{method}' has no term '{key}'; {hint}")
        return {name: float(given.get(name, 1.0)) for name in cls.all_terms}


def with_parts(name: str, objective: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The sum of an objective's terms as `name`, and if there are several, the terms themselves for the log."""
    parts = objective if len(objective) > 1 else {}
    return {name: torch.stack(list(objective.values())).sum(), **parts}
