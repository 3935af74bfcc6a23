"""H0: on Df this model behaves as models that never saw Df. Tests with a controlled error, and how hard they looked.

control: Df's people and control people whom no model saw are from one source, so under H0 the model treats them alike.
Their profiles (lavis/audits/behaviour.py) are compared by MMD, and whole people are shuffled.
exchange: with models that never saw Df. Each person's profiles under this model and under those are exchanged; profiles
are first expressed in the model's own control mean and deviation, as two trainings differ in scale.
relative: is the model's behaviour on Df nearer to the control's than to the original's on Df? p is small if not nearer.

`smallest` is the least effect that a sample like this shows with 80 % power: each person's profile is put a share of
the way from a control person's to that of the original on Df. Without an original, by that many deviations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from lavis.audits.behaviour import Behaviour
from lavis.audits.kernel import (
    People,
    exchange_test,
    joined,
    label_test,
    median_distance,
    mmd,
    person_kernel,
    relative_test,
    spread,
)
from lavis.audits.material import Material
from lavis.audits.share import holm
from lavis.common.seed import derived_seed

LEVEL, POWER = 0.05, 0.8
EFFECTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0)
SIMULATIONS, PERMUTATIONS = 40, 99
PER_PERSON = 6  # pairs of a person for the test with several models
Test = dict[str, Any]


def tests(
    material: Material, own: Behaviour, original: Behaviour | None, never: Mapping[str, Behaviour], seed: int
) -> dict[str, Test]:
    """The tests that these models and this data permit, each with p, p after Holm, effect and `smallest`.

    None without a control, and with a single person.
    """
    if material.control is None or min(len(one.everyone) for one in (material.asked, material.control)) < 2:
        return {}
    asked, control = material.asked.who, material.control.who
    sample, compared = People(own.profile, asked), People(own.control_profile, control)
    known = None if original is None else People(original.profile, asked)
    found = {"control": control_test(sample, compared, known, seed)}
    if known is not None:
        found["relative"] = nearer_test(sample, compared, known, seed)
    if never:
        found["exchange"] = never_test(own, list(never.values()), asked, seed, original)
    adjusted = holm({name: one["p"] for name, one in found.items() if name != "relative"})
    return {
        name: {**one, "p_holm": adjusted.get(name, one["p"]), "verdict": verdict(one)} for name, one in found.items()
    }


def control_test(sample: People, control: People, original: People | None, seed: int) -> Test:
    """Are Df's people treated as people whom no model saw?"""
    rng = np.random.default_rng(derived_seed(seed, "audit", "control test"))
    sample, control, original = _scaled(control, sample, control, original)
    width = median_distance(joined(sample, control).rows)
    kernel = person_kernel(joined(sample, control), width)
    found = {
        "kind": "control",
        "p": label_test(kernel, sample.count, rng),
        **_effect(kernel, sample, control, original, width, rng),
    }
    return {**found, "smallest": smallest_effect(control, original, sample.count, seed), "people": sample.count}


def nearer_test(sample: People, control: People, original: People, seed: int) -> Test:
    """Is the behaviour on Df nearer to the control's than to the original's on Df?"""
    rng = np.random.default_rng(derived_seed(seed, "audit", "relative test"))
    sample, control, original = _scaled(control, sample, control, original)
    width = median_distance(joined(sample, control, original).rows)
    near, far = (person_kernel(joined(sample, other), width) for other in (control, original))
    gap, p = relative_test(near, far, sample.count, rng)
    return {"kind": "relative", "p": p, "effect": gap, "people": sample.count, "smallest": math.nan}


def never_test(own: Behaviour, never: list[Behaviour], who: np.ndarray, seed: int, original: Behaviour | None) -> Test:
    """Is Df treated as by models that never saw it?"""
    rng = np.random.default_rng(derived_seed(seed, "audit", "exchange test"))
    rows = _few_each(who)
    samples = [People(_own_scale(one)[rows], who[rows]) for one in (own, *never)]
    people, nodes = samples[0].count, joined(*samples)
    width = median_distance(nodes.rows)
    kernel = person_kernel(nodes, width)
    effect: Test = {"effect": float(_gap(kernel, people))}
    if original is not None:
        known = joined(People(_own_scale(original)[rows], who[rows]), *samples[1:])
        effect["share"] = effect["effect"] / max(_gap(person_kernel(known, width), people), 1e-9)
    facts = {"people": people, "models": len(never), "smallest": math.nan}
    return {"kind": "exchange", "p": exchange_test(kernel, people, rng), **effect, **facts}


def smallest_effect(control: People, original: People | None, count: int, seed: int) -> float:
    """The least of EFFECTS, interpolated, that is shown with 80 % power by `count` people; nan if none is."""
    rng = np.random.default_rng(derived_seed(seed, "audit", "power"))
    before = (0.0, LEVEL)
    for effect in EFFECTS:
        power = float(np.mean([_shown(control, original, count, effect, rng) for _ in range(SIMULATIONS)]))
        if power >= POWER:
            share = (POWER - before[1]) / max(power - before[1], 1e-9)
            return before[0] + min(1.0, max(0.0, share)) * (effect - before[0])
        before = (effect, power)
    return math.nan


def _shown(control: People, original: People | None, count: int, effect: float, rng: np.random.Generator) -> bool:
    """Whether the test finds an effect of this size in one simulated sample."""
    drawn = control.take(rng.integers(control.count, size=count))
    others = control.take(rng.integers(control.count, size=control.count))
    if original is None:
        changed = drawn.of(drawn.rows + effect)
    else:
        goal = original.rows[rng.integers(len(original.rows), size=len(drawn.rows))]
        changed = drawn.of(drawn.rows + effect * (goal - drawn.rows))
    kernel = person_kernel(joined(changed, others))
    return label_test(kernel, changed.count, rng, PERMUTATIONS) <= LEVEL


def _effect(
    kernel: np.ndarray, sample: People, control: People, original: People | None, width: float, rng: np.random.Generator
) -> Test:
    """MMD² of the sample and the control with its interval and, given the original, as a share of the original's."""
    drawn = spread(kernel, sample.count, rng)
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = float(_gap(kernel, sample.count))
    found: Test = {"effect": value, "effect_low": float(low), "effect_high": float(high)}
    if original is not None:
        top = float(_gap(person_kernel(joined(original, control), width), original.count))
        found |= {"share": value / max(top, 1e-9), "share_low": float(low) / max(top, 1e-9)}
        found |= {"share_high": float(high) / max(top, 1e-9)}
    return found


def _gap(kernel: np.ndarray, count: int) -> float:
    return float(mmd(kernel, (np.arange(len(kernel)) < count)[None])[0])


def verdict(one: Test) -> str:
    """The result in words."""
    shown, p = one["p"] <= LEVEL, f"p {one['p']:.3f}"
    if one["kind"] == "relative":
        where = "nearer to the original's than to that on fresh people" if shown else "not nearer to the original's"
        return f"the behaviour on the forgotten people is {where} ({p})"
    than = "people whom no model saw" if one["kind"] == "control" else f"by {one['models']} models that never saw them"
    said = f"the forgotten people are {'' if shown else 'not '}shown to be treated otherwise than {than} ({p}"
    share = f", effect {one['share']:.2f} of the original's" if "share" in one else f", effect {one['effect']:.4f}"
    looked = one["smallest"]
    return said + share + ("" if math.isnan(looked) else f"; 80 % power from an effect of {looked:.2f} on") + ")"


def _scaled(base: People, *samples: People | None) -> list[Any]:
    """Samples in units of the base's mean and deviation."""
    return [None if one is None else one.of(_in_units(base.rows, one.rows)) for one in samples]


def _own_scale(one: Behaviour) -> np.ndarray:
    """Profiles in units of the model's own control."""
    return _in_units(one.control_profile, one.profile)


def _in_units(base: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows (n, F) less the mean of the base (m, F), in its standard deviations."""
    return (rows - base.mean(axis=0)) / np.maximum(base.std(axis=0), 1e-9)


def _few_each(who: np.ndarray) -> np.ndarray:
    """The first PER_PERSON rows of each person."""
    counts, places = np.bincount(who), np.empty(len(who), dtype=int)
    first = np.cumsum(counts) - counts
    places[np.argsort(who, kind="stable")] = np.arange(len(who)) - np.repeat(first, counts)
    return np.flatnonzero(places < PER_PERSON)
