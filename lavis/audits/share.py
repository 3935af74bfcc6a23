"""The number of an attack: which share of what the original knew comes back, with an interval by person.

    share = (attacked − floor) / (original − floor)

attacked: the mean over Df's pairs of the attacked unlearned model. floor: the same attack on a model that never saw Df
(retrained, else clean), else on control pairs that no model saw. original: what the original gives. 0 is what a model
gives that never saw Df, 1 is the original.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lavis.audits.attack import Reading, Readings, Sums, mean_of
from lavis.audits.kernel import by_chance
from lavis.common.seed import derived_seed
from lavis.salmubench.bootstrap import DRAWS, LEVEL

LEAST = 0.02  # an original that is nearer to the floor than this knew nothing that could come back
PERMUTATIONS = 1999


@dataclass(frozen=True)
class Share:
    """A variant's result; `share`, `low` and `high` are nan if there is no original or it knew nothing.

    gain: what Df's people gain over the control's in the same model, with its interval; nan without a control.
    """

    variant: str
    share: float
    low: float
    high: float
    attacked: float
    floor: float
    original: float
    gain: float = math.nan
    gain_low: float = math.nan
    gain_high: float = math.nan


def share_of(
    variant: str,
    attacked: Reading,
    floor: Sums | None,
    original: Sums | None,
    seed: int,
    paired: bool,
    guess: float = -math.inf,
) -> Share:
    """The share with its 95 % percentile interval from a bootstrap over whole people.

    paired: the floor is of the same people as the attacked values, not of others. guess: an original that is not better
    than this knew nothing.
    """
    own, control = attacked.sums, attacked.control_sums
    rng = np.random.default_rng(derived_seed(seed, "audit", "bootstrap"))
    times, others = _times(len(own[0]), rng), _times(len(floor[0]) if floor else 0, rng)
    if control is None:
        gains = (math.nan,) * 3
    else:
        spread = _means(own, times) - _means(control, _times(len(control[0]), rng))
        gains = (mean_of(own) - mean_of(control), *_interval(spread))
    top = math.nan if original is None else mean_of(original)
    low = math.nan if floor is None else mean_of(floor)
    if floor is None or original is None or not top - max(low, guess) >= LEAST:
        return Share(variant, math.nan, math.nan, math.nan, attacked.mean, low, top, *gains)
    floors = _means(floor, times if paired else others)
    drawn = (_means(own, times) - floors) / np.maximum(_means(original, times) - floors, LEAST)
    return Share(variant, (attacked.mean - low) / (top - low), *_interval(drawn), attacked.mean, low, top, *gains)


def p_value(attacked: Readings, floor: Readings | None, seed: int) -> float:
    """How often chance gives as much as the strongest variant, if Df's people are like people whom the model never saw.

    With a floor model each person's difference to it changes sign at random; without one, Df's people and the control's
    are shuffled. All variants are shuffled alike and their largest mean difference, in standard errors, is compared, so
    that trying many variants costs no false alarms. nan without floor and control.
    """
    rng = np.random.default_rng(derived_seed(seed, "audit", "permutation"))
    if floor is not None:
        rows = [_by_person(a.sums) - _by_person(floor[name].sums) for name, a in attacked.items() if name in floor]
        return _by_signs(np.stack(rows), rng) if rows else math.nan
    both = [(one.sums, one.control_sums) for one in attacked.values()]
    pairs = [(_by_person(own), _by_person(control)) for own, control in both if control is not None]
    return _by_labels(pairs, rng) if pairs else math.nan


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values: the chance of any false alarm stays below the level. nan stays nan and counts not."""
    known = sorted((p, name) for name, p in values.items() if not math.isnan(p))
    adjusted, largest = dict.fromkeys(values, math.nan), 0.0
    for place, (p, name) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - place) * p))
        adjusted[name] = largest
    return adjusted


def _by_signs(rows: np.ndarray, rng: np.random.Generator) -> float:
    rows = rows[:, np.isfinite(rows).all(axis=0)]
    signs = rng.choice((-1.0, 1.0), size=(PERMUTATIONS, rows.shape[1]))
    size = np.sqrt((rows**2).sum(axis=1))
    usable = size > 0
    if not usable.any():
        return 1.0
    scaled = rows[usable] / size[usable, None]
    seen, drawn = scaled.sum(axis=1).max(), (signs @ scaled.T).max(axis=1)
    return by_chance(seen, drawn)


def _by_labels(pairs: Sequence[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator) -> float:
    count = len(pairs[0][0])
    pooled = np.stack([np.concatenate(pair) for pair in pairs])
    spread = pooled.std(axis=1)
    usable = spread > 0
    if not usable.any():
        return 1.0
    scaled = (pooled[usable] - pooled[usable].mean(axis=1, keepdims=True)) / spread[usable, None]
    seen = scaled[:, :count].sum(axis=1).max()
    orders = rng.permuted(np.tile(np.arange(pooled.shape[1]), (PERMUTATIONS, 1)), axis=1)[:, :count]
    drawn = scaled[:, orders].sum(axis=2).max(axis=0)
    return by_chance(seen, drawn)


def _by_person(sums: Sums) -> np.ndarray:
    """Each person's mean, nan for those without a value."""
    total, count = sums
    return total / np.where(count > 0, count, np.nan)


def _times(people: int, rng: np.random.Generator) -> np.ndarray:
    """How often each bootstrap draw takes each person, (DRAWS, people)."""
    return rng.multinomial(people, np.full(people, 1 / people), size=DRAWS) if people else np.zeros((DRAWS, 0))


def _means(sums: Sums, times: np.ndarray) -> np.ndarray:
    return (times @ sums[0]) / np.maximum(times @ sums[1], 1e-12)


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
