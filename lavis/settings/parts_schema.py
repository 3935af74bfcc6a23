"""Settings of training less than the whole model: the section `lora` of `run`."""

from __future__ import annotations

from dataclasses import dataclass

from lavis.settings.declaration import Section, setting


@dataclass(frozen=True)
class LoraConfig(Section):
    """`run.lora:` — low-rank factors on linear layers (arXiv 2106.09685); checkpoints hold the merged weights."""

    rank: int | None = setting(
        None, "rank of the factors; null: no factors, the weights themselves are trained", least=1
    )
    alpha: float = setting(16.0, "the product of the factors counts alpha/rank times", above=0, most=10_000)
