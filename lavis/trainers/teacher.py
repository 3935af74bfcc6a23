"""The teacher: a frozen copy of the original model. Embeddings that cannot change are computed once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lavis.common.features import Features
from lavis.models.base import BaseModel, Inputs, join


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

    Stored rows of images (views · n_images, D) and of captions (n_captions, D) on the training device. None: computed
    live. Epoch e reads the rows of view e mod `views` of the images, which begin at that number times n_images.
    """

    images: torch.Tensor | None = None
    texts: torch.Tensor | None = None
    views: int = 1

    @property
    def stored(self) -> bool:
        """Whether nothing is computed live."""
        return self.images is not None and self.texts is not None

    def images_in(self, epoch: int) -> torch.Tensor | None:
        """The stored rows (n_images, D) of the images as they are in this epoch."""
        return None if self.images is None else self.images.chunk(self.views)[epoch % self.views]


class Teacher:
    """Features of the original model for any batch, from memory if stored.

    Args:
        frozen: the model, or None if every embedding is stored.
        towers: the sets ("df", "dr") that need the towers alone; on the others the whole model runs.
    """

    def __init__(self, frozen: FrozenModel | None, towers: dict[str, Towers] | None = None) -> None:
        self.frozen, self.towers = frozen, towers or {}

    @torch.no_grad()
    def rows(self, sets: dict[str, Inputs], epoch: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Image and text embeddings (B, D) of micro-batches of this epoch, of sets in `towers`.

        What is not stored goes through the frozen model in one pass for all sets.
        """
        images = {name: self.towers[name].images_in(epoch) for name in sets}
        texts = {name: self.towers[name].texts for name in sets}
        image = self._stored_or_live(sets, images, "index", "images", lambda rows: self._model.encode_image(rows))
        text = self._stored_or_live(sets, texts, "caption_id", "tokens", lambda rows: self._model.encode_text(rows))
        return {name: (image[name], text[name]) for name in sets}

    @torch.no_grad()
    def whole(self, inputs: Inputs, order: torch.Tensor | None = None) -> Features:
        """What the whole model represents; with `order`, of image i with the caption of row order[i]."""
        return self._model.represent(inputs if order is None else self._model.permute_text(inputs, order))

    def _stored_or_live(
        self,
        sets: dict[str, Inputs],
        stored: dict[str, torch.Tensor | None],
        number: str,
        key: str,
        encode: Callable[[torch.Tensor], torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """Each set's stored rows, by the numbers in its inputs, or the encoded tensors `key`."""
        found = {name: rows[sets[name][number]] for name, rows in stored.items() if rows is not None}
        live = [name for name in sets if name not in found]
        if live:
            together = join([{key: sets[name][key]} for name in live])[key]
            parts = encode(together).split([len(sets[name][key]) for name in live])
            found.update(zip(live, parts, strict=True))
        return found

    @property
    def _model(self) -> BaseModel:
        assert self.frozen is not None, "embeddings are neither stored nor computable"
        return self.frozen.model
