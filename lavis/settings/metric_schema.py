"""Settings of metrics: the sections `salmubench`, `relearn` and `audit` of `run`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lavis.common.errors import ConfigError
from lavis.settings.declaration import RESULTS, SEED, Section, setting

AUDIT_BUDGETS = ("quick", "standard", "full")


@dataclass(frozen=True)
class SalmubenchConfig(Section):
    """`run.salmubench:` — choices that the published descriptions leave open."""

    acs_features: str = setting("cosine", "input of ACS's probe", choices=("cosine", "product"), affects=RESULTS)
    idzsc_prompt: str = setting(
        "name", "IdZSC: {name}, or a photo of {name}", choices=("name", "photo"), affects=RESULTS
    )
    retfail_own_caption: str = setting(
        "drop", "whether a distractor may equal the query's own caption", choices=("drop", "keep"), affects=RESULTS
    )
    seed: int = setting(42, "seed of every draw; the same for all models that are compared", **SEED, affects=RESULTS)
    distractors: int = setting(1000, "RetFail: texts from each of forget and retain_disjoint", least=1, affects=RESULTS)


@dataclass(frozen=True)
class RelearnConfig(Section):
    """`run.relearn:` — the metric `relearning`, which trains a copy of the model on a part of Df."""

    steps: list[int] = setting([0, 20, 50, 100], "optimiser steps after which it is tested", least=0, affects=RESULTS)
    fraction: float = setting(
        0.1, "share of each identity's images in Df to train on; the others test", above=0, below=1, affects=RESULTS
    )
    lr: float = setting(2e-4, "learning rate", above=0, most=1000, affects=RESULTS)
    batch_size: int = setting(32, "images in each step", least=2, affects=RESULTS)
    seed: int = setting(42, "seed of the draws; the same for all models that are compared", **SEED, affects=RESULTS)

    def __post_init__(self) -> None:
        """Steps must rise. Raises ConfigError."""
        super().__post_init__()
        if not self.steps or any(a >= b for a, b in zip(self.steps, self.steps[1:], strict=False)):
            raise ConfigError(f"run.relearn.steps must rise from 0 or more, found {self.steps}")


@dataclass(frozen=True)
class AuditConfig(Section):
    """`run.audit:` — the metric `audit` and the command `multidelete audit`, which attack the unlearned model."""

    budget: str = setting("quick", "how much time the attacks may take", choices=AUDIT_BUDGETS, affects=RESULTS)
    attacks: list[str] = setting([], "attacks to run; empty: all that the budget has", affects=RESULTS)
    minutes: float = setting(
        0.0,
        "leave out the attacks that take longest until the rest fits; 0: none",
        least=0,
        most=10_080,
        affects=RESULTS,
    )
    control: str = setting(
        "",
        "split with pairs from Df's source that no model saw; empty: fresh people are drawn, or test",
        affects=RESULTS,
    )
    shadows: list[str] = setting(
        [], "checkpoints of models retrained without Df, for the two-sample test", affects=RESULTS
    )
    siblings: list[str] = setting([], "checkpoints of the same unlearning with other seeds", affects=RESULTS)
    threshold: float = setting(
        0.1, "share of the original's knowledge that counts as having come back", above=0, most=1, affects=RESULTS
    )
    seed: int = setting(42, "seed of every draw; the same for all models that are attacked", **SEED, affects=RESULTS)


def seeded(seed: int | None, **sections: Any) -> Iterator[tuple[str, Any]]:
    """Each section's name, and the section with run.eval_seed as its seed; nothing if that is null.

    Raises ConfigError if a section has another seed of its own: which of the two counts should not be a guess.
    """
    for name, section in sections.items() if seed is not None else ():
        if section.seed not in (seed, type(section)().seed):
            raise ConfigError(f"run.eval_seed is {seed} and run.{name}.seed {section.seed}: give one of the two")
        yield name, dataclasses.replace(section, seed=seed)
