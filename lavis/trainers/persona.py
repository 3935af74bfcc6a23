"""What our methods share that train the text tower alone, with captions about people who do not exist."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Protocol

import numpy as np
import torch
import torch.nn.functional as F

from lavis.common.errors import ConfigError
from lavis.common.seed import derived_seed
from lavis.common.transfer import to_device
from lavis.models.base import BaseModel
from lavis.settings.declaration import setting
from lavis.settings.schema import RunConfig
from lavis.trainers.base import BaseTrainer, Batch
from lavis.trainers.teacher import FrozenModel


@dataclass(frozen=True)
class Params:
    """What is trained, and how many captions about invented people each step adds."""

    tower: str = setting(
        "text",
        "what is trained: text (the text tower) or tokens (its token embedding alone)",
        choices=("text", "tokens"),
    )
    strict: bool = setting(False, "replace the names of partial identities, too")
    held: int = setting(64, "captions of invented people in each step", least=1)
    extra: int = setting(16, "captions in each step that give a name or value of Df to somebody else", least=1)


class Captions(Protocol):
    """The methods of lavis.synthetic.fictitious.Fiction; each draws `n` captions."""

    counterfactual: dict[str, str]
    names: dict[str, str]  # identity -> name
    whole: list[str]  # identities of whom everything is to be forgotten
    partial: list[str]

    def held(self, draws: np.random.Generator, n: int) -> list[str]: ...

    def kept_names(self, draws: np.random.Generator, n: int) -> list[str]: ...

    def renamed(self, draws: np.random.Generator, n: int) -> list[tuple[str, str]]: ...
    def other_values(self, draws: np.random.Generator, caption: str, n: int) -> list[str]: ...


class PersonaTrainer(BaseTrainer):
    """The image tower and the temperature are frozen; the teacher is a frozen copy that embeds captions live."""

    params_class = Params
    needs_pairs = True
    needs_teacher = False
    sides: ClassVar[tuple[str, ...]] = ("image",)  # it embeds captions in groups of its own
    needs_fiction: ClassVar[bool] = True
    gathers: ClassVar[bool] = False

    def __init__(self, method: str, model: BaseModel, run: RunConfig, device: torch.device) -> None:
        super().__init__(method, model, run, device)
        self.frozen = FrozenModel(model).model
        trained = model.text_parameters(tokens_only=self.params.tower == "tokens")
        if not trained:
            raise ConfigError(f"'{method}' trains the text tower, but this backbone has none of its own; use clip")
        model.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)

    @property
    def captions(self) -> Captions:
        assert self.fiction is not None, "the task has to set trainer.fiction"
        return self.fiction

    def draws(self, batch: Batch) -> np.random.Generator:
        """This micro-batch's random generator."""
        return np.random.default_rng(derived_seed(self.run.draw_seed, "fiction", batch.epoch, batch.number))

    def embed(self, groups: dict[str, list[str]], live: bool) -> dict[str, torch.Tensor]:
        """Unit rows (n, D) per group of captions, in one forward pass of the student or (live=False) the teacher."""
        tokens = to_device(self.model.tokenize(list(chain.from_iterable(groups.values()))), self.device)
        with torch.set_grad_enabled(live), self.computing():
            rows = (self.model if live else self.frozen).encode_text(tokens)
        parts = F.normalize(rows.float(), dim=-1).split([len(captions) for captions in groups.values()])
        return dict(zip(groups, parts, strict=True))

    @torch.no_grad()
    def images(self, batch: Batch, name: str) -> torch.Tensor:
        """Unit rows (B, D) of a set's images, the same for student and teacher."""
        with self.computing():
            rows = self.model.image_of(batch.sets[name])
        return F.normalize(rows.float(), dim=-1)


def share_done(batch: Batch, run: RunConfig) -> float:
    """The share of the run's steps before this micro-batch's."""
    progress = batch.progress
    return (progress.epoch + progress.step / progress.steps_per_epoch) / run.max_epoch


def squared_distance(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """sq: the mean over rows of ‖a − b‖², scalar; 0 for no rows."""
    return (student - target).pow(2).sum(dim=1).mean() if len(student) else student.sum()
