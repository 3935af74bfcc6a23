"""A model with two linear towers, batches for it, and a trainer."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from lavis.common.features import PairFeatures
from lavis.common.registry import registry
from lavis.losses.contrastive import contrastive_loss
from lavis.models.base import BaseModel
from lavis.settings.schema import RunConfig
from lavis.trainers.base import Batch
from lavis.trainers.teacher import FrozenModel, Teacher, Towers

CPU = torch.device("cpu")


class Toy(BaseModel):
    """Two linear towers with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(12, 5), nn.Dropout(0.5))
        self.text = nn.Embedding(50, 5)
        self.logit_scale = nn.Parameter(torch.tensor(1.0))

    def represent(self, inputs):
        return PairFeatures(self.image_of(inputs), self.encode_text(inputs["tokens"]))

    def objective(self, inputs, progress):
        return {"contrastive": contrastive_loss(self.represent(inputs), self.scale, inputs.get("caption_groups"))}

    def image_of(self, inputs):
        return self.encode_image(inputs["images"])

    def encode_image(self, images):
        return self.image(images.flatten(1).float() / 255)

    def encode_text(self, tokens):
        return self.text(tokens).mean(1)

    @property
    def scale(self):
        return self.logit_scale.exp()

    def scale_parameters(self):
        return [self.logit_scale]


@dataclass
class FixedCaptions:
    """Captions about fictitious people, always the same."""

    counterfactual: dict = field(default_factory=lambda: {"secret": "double"})
    names: dict = field(default_factory=lambda: {"1": "own", "2": "kept"})
    whole: list = field(default_factory=lambda: ["1"])
    partial: list = field(default_factory=lambda: ["2"])

    def held(self, draws, n):
        return ["held"] * n

    def kept_names(self, draws, n):
        return ["kept"] * n

    def renamed(self, draws, n):
        return [("own", "other")] * n

    def other_values(self, draws, caption, n):
        return ["other"] * n


def inputs(seed: int, rows: int = 4) -> dict:
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (rows, 3, 2, 2), dtype=torch.uint8, generator=draws)
    tokens = torch.randint(0, 50, (rows, 3), generator=draws)
    numbers = torch.arange(rows)
    return {"images": images, "tokens": tokens, "captions": ["a"] * rows, "index": numbers, "caption_id": numbers}


def batch(number: int = 0, epoch: int = 0) -> Batch:
    return Batch({"df": inputs(1), "dr": inputs(2)}, 42, epoch, number)


def trainer(method: str = "vlul", **keys):
    subject = registry.get_trainer_class(method)(method, Toy(), RunConfig(**keys), CPU)
    subject.attach_teacher(Teacher(FrozenModel(subject.model), {"df": Towers(), "dr": Towers()}))
    return subject
