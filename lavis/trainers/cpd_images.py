"""Counterfactual targets on both towers (ours, unpublished): forget images come to mean what anyone can see in them.

    L = that of cpd_level + images + image_retain + image_partial + pictured
    images        = sq(I'(i_w), normalise(Σ_r softmax_r(sharp · T(g_w)·T(t_r)) I(i_r)))
    image_retain  = sq(I'(i_r), I(i_r)) + sq(I'(mix), I(mix))
    image_partial = sq(I'(i_p), I(i_p))        pictured = sq(I'(i_h), I(i_h))

| symbol | here |
|---|---|
| ' (prime), none | student; frozen original |
| i_w, i_p | forget images of whole and of partial identities |
| g_w | their captions without name and value (`generic_caption`); without them all of Dr's batch counts equally |
| i_r, t_r, mix | images and captions of Dr's batch; the mean of two of its images |
| i_h | drawn portraits of people who do not exist (`pictured`, 0 by default: such drawings suit drawn data) |

The target is what a model that never knew the person might see: the mean of the retained images described most alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from lavis.common.registry import registry
from lavis.common.seed import derived_seed
from lavis.common.transfer import to_device
from lavis.models.base import BaseModel
from lavis.settings.declaration import setting
from lavis.settings.schema import RunConfig
from lavis.synthetic.mini.invented import invented_portraits
from lavis.trainers import cpd_level
from lavis.trainers.base import Batch
from lavis.trainers.cpd_level import LevelValues
from lavis.trainers.forget_images import ForgetImages
from lavis.trainers.persona import squared_distance

STOCK = 256  # portraits of invented people to draw from


@dataclass(frozen=True)
class Params(cpd_level.Params):
    """Targets of images, and portraits in each step."""

    sharp: float = setting(40.0, "how much a nearer description weighs", least=0, most=1000)
    pictured: int = setting(0, "drawn portraits of invented people in each step", least=0, most=STOCK)


def weighted_distance(student: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean of ‖a − b‖² over rows with these weights (B,), scalar; 0 if all weights are."""
    return ((student - target).pow(2).sum(dim=1) * weight).sum() / weight.sum().clamp(min=1)


@registry.register_trainer("cpd_images")
class CounterfactualImages(LevelValues):
    """cpd_level that trains the image tower, too."""

    params_class: type = Params
    image_terms: ClassVar[tuple[str, ...]] = ("images", "image_retain", "image_partial", "pictured")
    all_terms = (*LevelValues.all_terms, *image_terms)
    forgotten: Sequence[Any] = ()

    def __init__(self, method: str, model: BaseModel, run: RunConfig, device: torch.device) -> None:
        super().__init__(method, model, run, device)
        others = {id(p) for p in [*model.text_parameters(), *model.scale_parameters()]}
        for parameter in model.parameters() if any(self.weights[name] for name in self.image_terms) else ():
            if id(parameter) not in others:
                parameter.requires_grad_(True)

    def entries(self, name: str, entries: list[Any]) -> list[Any]:
        if name == "df":
            self.forgotten = entries
        return super().entries(name, entries)

    def compared(
        self, batch: Batch, student: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        found = super().compared(batch, student, teacher)
        if not any(self.weights[name] for name in self.image_terms):
            return found | dict.fromkeys(self.image_terms, torch.zeros((), device=self.device))
        return found | self._image_terms(batch, teacher["retain"])

    def _image_terms(self, batch: Batch, captions: torch.Tensor) -> dict[str, torch.Tensor]:
        """The four terms; captions: the original's unit rows of the retain batch's."""
        df, dr = batch.sets["df"]["images"], batch.sets["dr"]["images"]
        mixed = ((dr.int() + dr.flip(0).int()) // 2).to(dr.dtype)
        count = self.params.pictured
        numbers = self.draws(batch).integers(STOCK, size=count)
        drawn = to_device(self._stock[torch.from_numpy(numbers)], self.device) if count else dr[:0]
        everything, sizes = torch.cat([df, dr, mixed, drawn]), [len(df), len(dr), len(dr), count]
        own, aims = (self._embedded(everything, live).split(sizes) for live in (True, False))
        rows = batch.sets["df"].get("index", torch.arange(len(df), device=self.device))
        whole, target = self._facts.whole(rows), self._facts.target(rows, captions, aims[1], self.params.sharp)
        return {
            "images": weighted_distance(own[0], target, whole),
            "image_partial": weighted_distance(own[0], aims[0], 1 - whole),
            "image_retain": squared_distance(own[1], aims[1]) + squared_distance(own[2], aims[2]),
            "pictured": squared_distance(own[3], aims[3]),
        }

    def _embedded(self, images: torch.Tensor, live: bool) -> torch.Tensor:
        with torch.set_grad_enabled(live), self.computing():
            return F.normalize((self.model if live else self.frozen).encode_image(images).float(), dim=-1)

    @cached_property
    def _facts(self) -> ForgetImages:
        def embed(captions: list[str]) -> torch.Tensor:
            return self.embed({"generic": captions}, live=False)["generic"]

        return ForgetImages(self.forgotten, self.captions.whole, embed, self.device)

    @cached_property
    def _stock(self) -> torch.Tensor:
        """Drawn portraits, uint8 (STOCK, 3, S, S), on the CPU."""
        size, seed = self.model.recipe.pixels.image_size, derived_seed(self.run.draw_seed, "pictured")
        return torch.from_numpy(invented_portraits(STOCK, size, seed))
