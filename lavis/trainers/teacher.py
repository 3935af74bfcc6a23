"""The teacher: a frozen copy of the original model. Embeddings that cannot change are computed once."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

from lavis.common.features import Features, PairFeatures
from lavis.models.base import BaseModel, Inputs


class FrozenModel(torch.nn.Module):
    """A copy of a model, without gradients and always in eval mode."""

    def __init__(self, model: BaseModel) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.model.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> FrozenModel:
        """Always eval mode: a teacher with dropout would differ in every step."""
        return super().train(False)

    def requires_grad_(self, requires_grad: bool = True) -> FrozenModel:
        """Always frozen."""
        return super().requires_grad_(False)


@dataclass
class Towers:
    """For a set of which only separate image and text embeddings are needed.

    Stored rows of images (n_images, D) and of captions (n_captions, D) on the training device. None: computed live.
    """

    images: torch.Tensor | None = None
    texts: torch.Tensor | None = None


class Teacher:
    """Features of the original model for any batch, from memory if stored.

    Args:
        frozen: the model, or None if every embedding is stored.
        towers: the sets ("df", "dr") that need the towers alone; on the others the whole model runs.
    """

    def __init__(self, frozen: FrozenModel | None, towers: dict[str, Towers] | None = None) -> None:
        self.frozen, self.towers = frozen, towers or {}

    @torch.no_grad()
    def features(self, name: str, inputs: Inputs) -> Features:
        """Teacher features of one set's micro-batch, rows in its order."""
        if name in self.towers:
            return PairFeatures(*self._pairs(self.towers[name], inputs))
        return self._model.represent(inputs)

    @torch.no_grad()
    def shuffled(self, name: str, inputs: Inputs, order: torch.Tensor) -> Features:
        """The same with image i paired with the caption of row order[i]."""
        if name in self.towers:
            image, text = self._pairs(self.towers[name], inputs)
            return PairFeatures(image, text[order])
        return self._model.represent(self._model.permute_text(inputs, order))

    def _pairs(self, towers: Towers, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        images, texts = towers.images, towers.texts
        image = self._model.encode_image(inputs["images"]) if images is None else images[inputs["index"]]
        text = self._model.encode_text(inputs["tokens"]) if texts is None else texts[inputs["caption_id"]]
        return image, text

    @property
    def _model(self) -> BaseModel:
        assert self.frozen is not None, "embeddings are neither stored nor computable"
        return self.frozen.model
