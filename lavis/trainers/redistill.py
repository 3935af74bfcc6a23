"""Distillation into a fresh text tower from a counterfactual teacher (ours, unpublished).

    before the first step:  θ = (1 − fresh) θ₀ + fresh · θ_init
    L = that of cpd_images, whose image terms weigh 0 unless set

| symbol | here |
|---|---|
| θ₀ | the original's text tower |
| θ_init | the same tower as an untrained model has it; its token embedding only if `fresh_tokens` |
| teacher | the original, which sees a fictitious person in the place of a forgotten one |

With fresh = 1 nothing of the original's layers is left, so that what is not distilled is not known. `after` is 0: the
token rows of forgotten names are drawn before the first step and stay.

UNDO (Lee et al., arXiv 2506.06278) distils an unlearned model into a noised copy of itself, on all data. That
is this method on the checkpoint of an unlearned model with `imitate`, `after` 1, `level` at weight 0 and 0 < fresh < 1.
UNDO's noise is Xavier's times 0.1 in the whole model; here it is an untrained text tower.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lavis.common.registry import registry
from lavis.common.seed import derived_seed
from lavis.models.base import BaseModel
from lavis.settings.declaration import setting
from lavis.settings.schema import RunConfig
from lavis.trainers import cpd_images
from lavis.trainers.base import Batch
from lavis.trainers.cpd_images import CounterfactualImages


@dataclass(frozen=True)
class Params(cpd_images.Params):
    """How much of the text tower is fresh."""

    fresh: float = setting(1.0, "share of untrained weights in the student before the first step", least=0, most=1)
    fresh_tokens: bool = setting(False, "the token embedding, too")
    imitate: bool = setting(False, "imitate the checkpoint in forget captions, too: for one that is unlearned already")


@registry.register_trainer("redistill")
class Redistilled(CounterfactualImages):
    """Starts from untrained layers and learns what the original says of everybody but the forgotten."""

    params_class: type = Params
    redraws = True

    def __init__(self, method: str, model: BaseModel, run: RunConfig, device: torch.device) -> None:
        super().__init__(method, model, run, device)
        tokens = {id(p) for p in model.text_parameters(tokens_only=True)}
        text = {id(p) for p in model.text_parameters()} - (set() if self.params.fresh_tokens else tokens)
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(run.draw_seed, "redistill"))
            initial = model.initial_state()
        for name, parameter in model.public_parameters().items():
            if id(parameter) in text:
                parameter.data.lerp_(initial[name].to(parameter), self.params.fresh)

    def groups(self, batch: Batch) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        shown, target = super().groups(batch)
        if self.params.imitate:
            shown["forget"] = target["forget"] = batch.sets["df"]["captions"]
            target["names"] = shown["names"]
        return shown, target

    @classmethod
    def rewrites(cls, run: RunConfig) -> str:
        return "layers of the text tower, before the first step"
