"""Settings of training less than the whole model, or near the original: `lora`, `select`, `anchor` of `run`."""

from __future__ import annotations

from dataclasses import dataclass

from lavis.settings.declaration import Section, setting

EVERYTHING, SALUN, SLUG = "all", "salun", "slug"


@dataclass(frozen=True)
class LoraConfig(Section):
    """`run.lora:` — low-rank factors on linear layers (arXiv 2106.09685); checkpoints hold the merged weights."""

    rank: int | None = setting(
        None, "rank of the factors; null: no factors, the weights themselves are trained", least=1
    )
    alpha: float = setting(16.0, "the product of the factors counts alpha/rank times", above=0, most=10_000)


@dataclass(frozen=True)
class SelectConfig(Section):
    """`run.select:` — which weights change, by the gradients of the original objective before the first step."""

    rule: str = setting(
        EVERYTHING,
        "of what would be trained: all, salun (the weights with the largest gradient on Df, arXiv 2310.12508), slug "
        "(one layer, arXiv 2407.11867)",
        choices=(EVERYTHING, SALUN, SLUG),
    )
    share: float = setting(0.5, "salun: share that may change of the weights with a gradient on Df", above=0, most=1)
    rows: int | None = setting(
        1024, "pairs of Df, and for slug of Dr, on which gradients are computed; null: all", least=1
    )


@dataclass(frozen=True)
class AnchorConfig(Section):
    """`run.anchor:` — terms of the loss that hold the trained weights near the original's."""

    l2_sp: float = setting(
        0.0, "weight of half the squared distance to the original's weights (arXiv 1802.01483)", least=0, most=1e9
    )
    ewc: float = setting(
        0.0, "weight of the same with Fisher information on Dr in it (arXiv 1612.00796)", least=0, most=1e12
    )
    rows: int | None = setting(1024, "ewc: pairs of Dr for the Fisher information; null: all", least=1)

    @property
    def weights(self) -> dict[str, float]:
        """Term -> weight, of the terms that are on."""
        return {name: weight for name, weight in (("l2_sp", self.l2_sp), ("ewc", self.ewc)) if weight}
