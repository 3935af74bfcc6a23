"""What every method shares: the teacher, embedding a batch, weighting, summing, naming what went wrong.

A method's file gives the equation (`terms`) and its names; nothing here knows which method or backbone runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from lavis.common import distributed
from lavis.common.errors import ConfigError, TrainingError, suggest
from lavis.common.features import Features, PairFeatures
from lavis.common.precision import computing
from lavis.common.seed import derived_seed
from lavis.models.base import BaseModel, join
from lavis.settings.declaration import setting
from lavis.settings.schema import RunConfig
from lavis.settings.validation import build
from lavis.trainers.batch import Batch
from lavis.trainers.teacher import Teacher

SIDES = ("df", "dr")


def _of_all(own: Features) -> PairFeatures:
    """The pairs of every process's batch, with gradient."""
    assert isinstance(own, PairFeatures), "run.gather_similarity has been refused for other kinds"
    return own.gathered(distributed.gather_live)


class BatchFeatures:
    """Features of the forget and the retain batch, `.df` and `.dr`, made when first asked for."""

    def __init__(self, make: Callable[[str], Features]) -> None:
        self._make = make
        self._made: dict[str, Any] = {}

    def _side(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    @property
    def df(self) -> Any:
        return self._side("df")

    @property
    def dr(self) -> Any:
        return self._side("dr")


class TeacherFeatures(BatchFeatures):
    """The original model's features, and those of the forget images beside each other's captions."""

    def __init__(self, teacher: Teacher, batch: Batch) -> None:
        def features(side: str) -> Features:
            own = teacher.features(side, batch.sets[side])
            return _of_all(own) if batch.gather else own

        super().__init__(features)
        self.teacher, self.batch = teacher, batch

    def _shuffle(self) -> Features:
        if self.batch.gather:
            return self.df.with_text(self.df.text[self.batch.permutation])
        return self.teacher.shuffled("df", self.batch.sets["df"], self.batch.permutation)

    @property
    def df_shuffled(self) -> Any:
        if "shuffled" not in self._made:
            self._made["shuffled"] = self._shuffle()
        return self._made["shuffled"]


class Student(BatchFeatures):
    """The model in training on one micro-batch: its features (all sides in one forward) and its original objective."""

    def __init__(self, trainer: BaseTrainer, batch: Batch) -> None:
        super().__init__(self._forward)
        self.trainer, self.batch = trainer, batch

    def _forward(self, wanted: str) -> Features:
        sides = self.trainer.sets
        assert wanted in sides, f"this method's `sides` lacks '{wanted}'"
        with self.trainer.computing():
            features = self.trainer.model(join([self.batch.sets[side] for side in sides]))
        parts = features.split(*(self.batch.size(side) for side in sides))
        if self.batch.gather:
            parts = [_of_all(part) for part in parts]
        self._made.update(zip(sides, parts, strict=True))
        return self._made[wanted]

    def objective(self, side: str, share_equal: bool = True) -> dict[str, torch.Tensor]:
        """Terms of the original objective on one side; `share_equal`: equal captions are no negatives of each other."""
        if self.batch.gather:
            groups = self.batch.caption_groups(side) if share_equal else None
            return self.trainer.model.pair_objective(self._side(side), groups)
        inputs = self.batch.sets[side]
        if share_equal:
            inputs = {**inputs, "caption_groups": self.batch.caption_groups(side)}
        with self.trainer.computing():
            return self.trainer.model.objective(inputs, self.batch.progress)


@dataclass(frozen=True)
class NoParams:
    """The hyper-parameters of a method that has none beyond the weights of its terms."""


@dataclass(frozen=True)
class EqualCaptions:
    """The hyper-parameter of objectives with in-batch negatives."""

    share_equal: bool = setting(
        True, "rows with the same caption count as each other's right partner, not as negatives of each other"
    )


class BaseTrainer:
    """A method: which sides it needs, its named terms, their weights.

    Class attributes of a method: `params_class` (a dataclass of its hyper-parameters, filled from
    `run.method_args`), `all_terms` (names of its terms), `sides` (the batches of a step), `needs_teacher`,
    `needs_fiction` (its `fiction`, captions about people who do not exist, is set by the task), `needs_pairs` (defined
    on S: not for models without towers), `teacher_sets` (those it asks the teacher about), `joint_of_teacher`
    (sides of which it wants the teacher's joint representation), `trains_scale` (whether it learns the
    temperature), `starts_from` ("original": the model to unlearn; "initial": what original training starts from, and
    Dr is what the reference `retrained` sees), `trains_anew` (statistics are learnt and random layers are active, as
    in any training), `gathers` (whether run.gather_similarity is defined for it), `runner` (where it needs another
    than run.runner), `reads` (the optional run settings that it reads: "alpha").

    Raises ConfigError for a weight or hyper-parameter that the method does not have.
    """

    params_class: ClassVar[type] = NoParams
    all_terms: ClassVar[tuple[str, ...]]
    sets: ClassVar[tuple[str, ...]] = SIDES
    needs_teacher: ClassVar[bool] = True
    needs_fiction: ClassVar[bool] = False
    fiction: Any = None
    needs_pairs: ClassVar[bool] = False
    teacher_sets: ClassVar[tuple[str, ...]] = SIDES
    joint_of_teacher: ClassVar[tuple[str, ...]] = ()
    trains_scale: ClassVar[bool] = False
    starts_from: ClassVar[str] = "original"
    trains_anew: ClassVar[bool] = False
    runner: ClassVar[str | None] = None
    gathers: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, method: str, model: BaseModel, run: RunConfig, device: torch.device) -> None:
        self.method, self.model, self.run, self.device = method, model, run, device
        self._check_gather(method, run, type(model))
        self.active = self.terms_of(method)
        self.params = self.params_of(run)
        self.weights = self._weights(method, run.weights)
        self.teacher: Teacher | None = None
        if not self.trains_scale:
            for parameter in model.scale_parameters():
                parameter.requires_grad_(False)

    @classmethod
    def check(cls, method: str, run: RunConfig, model: type[BaseModel] | None = None) -> None:
        """Refuse hyper-parameters, weights and backbones that the method does not know, before anything is built."""
        cls.params_of(run)
        cls._weights(method, run.weights)
        cls._check_gather(method, run, model)
        if cls.needs_pairs and model is not None and not model.features.paired_towers:
            raise ConfigError(
                f"'{method}' is defined on the similarities of image and text embeddings, which this backbone does not "
                "have for this task; methods that are: vlul and its parts (vlul-md, …), ft, neggrad, dtd, retrain"
            )

    @classmethod
    def _check_gather(cls, method: str, run: RunConfig, model: type[BaseModel] | None) -> None:
        pairs = model is None or (model.features.paired_towers and model.features.joint_of_towers)
        if run.gather_similarity and not (pairs and cls.gathers and cls.runner != "once"):
            raise ConfigError(
                f"run.gather_similarity is defined for models of two towers and for methods on batch similarities, not "
                f"for '{method}' on this backbone; set it to false"
            )

    @classmethod
    def terms_of(cls, method: str) -> tuple[str, ...]:
        """The terms that count under this registered name (ablations name a part)."""
        return cls.all_terms

    def terms(self, student: Student, teacher: TeacherFeatures, batch: Batch) -> dict[str, torch.Tensor]:
        """The method's named scalars, unweighted."""
        raise NotImplementedError

    def entries(self, side: str, entries: list[Any]) -> list[Any]:
        """The annotation entries that a side trains on; a method may give them other captions."""
        return entries

    def once(self) -> dict[str, torch.Tensor]:
        """The whole method, for runner "once": change the weights without gradients; returns scalars for the log."""
        raise NotImplementedError

    @property
    def scale(self) -> torch.Tensor:
        """The student's temperature multiplier."""
        return self.model.scale

    @property
    def reads_each_loss(self) -> bool:
        """Whether the host may look at every loss: on a CPU that costs nothing."""
        return self.device.type == "cpu"

    def begin(self) -> None:
        """Set the model's mode, before the first step and whenever it has been evaluated."""
        if self.trains_anew:
            self.model.train()
        else:
            self.model.unlearning_mode()

    def attach_teacher(self, teacher: Teacher | None) -> None:
        self.teacher = teacher

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Weighted sum (scalar, with gradient) and the unweighted terms (detached) of one micro-batch.

        Raises TrainingError, naming the term, when one is not finite; where reading it would make the host wait for
        the device (`reads_each_loss`), the runner finds out later.
        """
        torch.manual_seed(derived_seed(self.run.seed, "forward", batch.epoch, batch.number))
        terms = self.terms(Student(self, batch), self._teacher_features(batch), batch)
        assert set(self.active) <= set(terms), f"{self.method} lacks the terms {set(self.active) - set(terms)}"
        total = torch.stack([self.weights[name] * terms[name] for name in self.active]).sum()
        if self.reads_each_loss and not torch.isfinite(total):
            raise TrainingError(self._not_finite(terms, batch))
        return total, {name: term.detach() for name, term in terms.items()}

    def _teacher_features(self, batch: Batch) -> Any:
        return None if self.teacher is None else TeacherFeatures(self.teacher, batch)

    def computing(self) -> contextlib.AbstractContextManager:
        """The run's precision and attention kernel, for a forward pass."""
        return computing(self.run, self.device)

    def _not_finite(self, terms: dict[str, torch.Tensor], batch: Batch) -> str:
        bad = [f"{name} = {float(terms[name].detach())}" for name in self.active if not torch.isfinite(terms[name])]
        where = f"epoch {batch.epoch}, micro-batch {batch.number}"
        culprit = ", ".join(bad) or "the weighted sum"
        return (
            f"loss of '{self.method}' is not finite ({culprit}) at {where}; the optimiser has not stepped. "
            "Lower run.init_lr or the weight of that term, or set run.max_grad_norm=1"
        )

    @classmethod
    def params_of(cls, run: RunConfig) -> Any:
        """The method's own settings. Raises ConfigError for keys that it does not have, and for their values."""
        return build(cls.params_class, run.method_args, "run.method_args")

    @classmethod
    def _weights(cls, method: str, given: dict[str, float]) -> dict[str, float]:
        for key in given:
            if key not in cls.all_terms:
                hint = suggest(str(key), cls.all_terms)
                raise ConfigError(f"run.weights: '{method}' has no term '{key}'; {hint}")
        return {name: float(given.get(name, 1.0)) for name in cls.all_terms}


def with_parts(name: str, objective: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The sum of an objective's terms under `name`; the terms beside it, for the log, where there are several."""
    parts = objective if len(objective) > 1 else {}
    return {name: torch.stack(list(objective.values())).sum(), **parts}
