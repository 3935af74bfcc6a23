"""Localised reset (ours, unpublished): cpd, then what Df moved goes back to random values before the rest is repaired.

    L = that of cpd;  from the share `after` of the run on:  E[R] = N(μ, σ²)
    R = tokens(names of whole identities) \\ tokens(retained captions, names of partial identities)
    at that step also, of each other matrix W of the text tower, the rows with the highest F_f / F_r:  W[i] = N(μ, σ²)

| symbol | here |
|---|---|
| E | token embedding; its rows R stay at the drawn values to the end |
| μ, σ | mean and standard deviation of the original's matrix: most rows of E are as they were drawn |
| F_f, F_r | squared gradients of ‖T(t_f) − T(cf t_f)‖² and of a random projection of T(t_r), summed over a row |

From then on fictitious captions with a token of R are left out: the original would teach the rows again through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.common.seed import generator
from lavis.common.transfer import to_device
from lavis.models.base import BaseModel
from lavis.settings.declaration import setting
from lavis.settings.schema import RunConfig
from lavis.trainers import persona
from lavis.trainers.base import Batch
from lavis.trainers.cpd import CounterfactualPersonas
from lavis.trainers.persona import share_done
from lavis.trainers.sensitivity import row_scores


@dataclass(frozen=True)
class Params(persona.Params):
    """When and how much is reset."""

    after: float = setting(0.9, "share of the run after which rows are reset; 1: never", least=0, most=1)
    neurons: float = setting(0.0, "share of the rows of each other matrix that is reset, once", least=0, most=0.5)


@registry.register_trainer("cpd_reset")
class LocalisedReset(CounterfactualPersonas):
    """cpd with the token rows of forgotten names, and the rows most sensitive to Df, drawn again."""

    params_class: type = Params
    retained: Sequence[str] = ()

    @classmethod
    def check(cls, method: str, run: RunConfig, model: type[BaseModel] | None = None) -> None:
        super().check(method, run, model)
        if run.parallel == "fsdp":
            raise ConfigError(f"'{method}' changes rows of whole matrices; set run.parallel to ddp")

    @classmethod
    def rewrites(cls, run: RunConfig) -> str:
        return "token rows of forgotten names, unless method_args.after is 1" if cls.params_of(run).after < 1 else ""

    def entries(self, name: str, entries: list[Any]) -> list[Any]:
        if name == "dr":
            self.retained = list(dict.fromkeys(caption for entry in entries for caption in entry.captions))
        return super().entries(name, entries)

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        done = share_done(batch, self.run)
        if done >= self.params.after:
            first = done < self.params.after + 1 / (self.run.max_epoch * batch.progress.steps_per_epoch)
            self._reset({**self._tokens, **(self._sensitive if first else {})})
        return super().loss(batch)

    def groups(self, batch: Batch) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        shown, target = super().groups(batch)
        if share_done(batch, self.run) >= self.params.after:
            shown["hold"] = target["hold"] = [one for one in shown["hold"] if not self.rows & self.tokens([one])]
        return shown, target

    def tokens(self, captions: Sequence[str]) -> set[int]:
        """The numbers of all tokens in these captions."""
        return set(self.model.tokenize(list(captions)).flatten().tolist()) if captions else set()

    @cached_property
    def rows(self) -> set[int]:
        """R: tokens that only names of whole identities have."""
        own, names = self.captions, self.captions.names
        whole, partial = ([names[who] for who in people] for people in (own.whole, own.partial))
        return self.tokens(whole) - self.tokens([*self.retained, *partial])

    @cached_property
    def _tokens(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        (table,) = (id(p) for p in self.model.text_parameters(tokens_only=True))
        name = next(name for name, p in self.model.named_parameters() if id(p) == table)
        return {name: self._fresh(name, torch.tensor(sorted(self.rows), dtype=torch.int64))}

    @cached_property
    def _sensitive(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        if not self.params.neurons:
            return {}
        scores = row_scores(self.frozen, self.captions.counterfactual, self.retained, self.run.draw_seed)
        text = {id(p) for p in self.model.text_parameters()}
        trained = {name for name, p in self.model.named_parameters() if id(p) in text and name not in self._tokens}
        counts = {name: round(self.params.neurons * len(score)) for name, score in scores.items() if name in trained}
        return {name: self._fresh(name, scores[name].topk(n).indices) for name, n in counts.items() if n}

    def _fresh(self, name: str, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of a parameter, and values drawn for them."""
        original = self.frozen.get_parameter(name)
        draws = torch.randn(len(rows), original.shape[1], generator=generator(self.run.draw_seed, "reset", name))
        return to_device(rows, self.device), original.mean() + original.std() * to_device(draws, self.device)

    @torch.no_grad()
    def _reset(self, rows: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        for name, (numbers, values) in rows.items():
            self.model.get_parameter(name).index_copy_(0, numbers, values)
