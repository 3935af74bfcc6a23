"""What a sweep adds to the experiment file for each method: its settings, the points of its grid, its budgets."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

from lavis.common.errors import ConfigError
from lavis.common.registry import registry
from lavis.sweeps.schema import SweepConfig


@dataclass(frozen=True)
class Variant:
    """One way to run a method: `options` for the command line, a budget, the name of its point of the grid.

    `subfolder` is its run folder below the method's; `label` follows the method's name in tables.
    """

    options: tuple[str, ...] = ()
    budget: int | None = None
    point: str = ""

    @property
    def subfolder(self) -> str:
        parts = [f"budget-{self.budget}"] if self.budget else []
        return "/".join([*parts, *([re.sub(r"[^\w.=+-]+", "-", self.point)] if self.point else [])])

    @property
    def label(self) -> str:
        return "".join([f" {self.budget}×" if self.budget else "", f" {self.point}" if self.point else ""])


def variants(sweep: SweepConfig, method: str) -> list[Variant]:
    """Budgets × points of the grid. Raises ConfigError if `options` sets a key that the sweep varies."""
    points = grid_points(sweep.grid.get(method, {}))
    budgets = list(sweep.budgets) if takes_budget(method) and sweep.budgets else [None]
    ways = []
    for budget, point in itertools.product(budgets, points):
        varied = [*([("max_epoch", budget)] if budget else []), *point]
        _check_free(sweep, method, [key for key, _ in varied])
        options = tuple(f"run.{key}={_text(value)}" for key, value in varied)
        ways.append(Variant(options, budget, "_".join(f"{key}-{_text(value)}" for key, value in point)))
    return ways


def setting_options(sweep: SweepConfig, method: str) -> list[str]:
    """`settings.<method>` as options; nested mappings become dotted keys."""
    return [f"run.{key}={_text(value)}" for key, value in _flat(sweep.settings.get(method, {}).get("run", {}))]


def takes_budget(method: str) -> bool:
    """Whether run.max_epoch counts passes over Df: not for one-shot methods, nor for training from scratch."""
    trainer = registry.get_trainer_class(method)
    return trainer.runner != "once" and trainer.starts_from != "initial"


def grid_points(grid: Any) -> list[tuple[tuple[str, Any], ...]]:
    """All combinations of a mapping's values, or of each mapping in a list; one empty point without a grid."""
    points = []
    for part in grid if isinstance(grid, list) else [grid]:
        keys = list(part)
        points += [tuple(zip(keys, values, strict=True)) for values in itertools.product(*part.values())]
    return list(dict.fromkeys(points))


def _check_free(sweep: SweepConfig, method: str, keys: list[str]) -> None:
    fixed = {option.split("=", 1)[0] for option in sweep.options}
    for key in keys:
        if f"run.{key}" in fixed:
            raise ConfigError(
                f"{sweep.source}: the options set run.{key}, which the sweep varies for '{method}'; remove one of them"
            )
        if keys.count(key) > 1:
            raise ConfigError(f"{sweep.source}: 'budgets' and 'grid.{method}' both vary {key}; remove one of them")


def _flat(content: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for key, value in content.items():
        pairs += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return pairs


def _text(value: Any) -> str:
    """A value as an option spells it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"[{','.join(_text(item) for item in value)}]" if isinstance(value, list) else str(value)
