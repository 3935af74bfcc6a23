"""Size and power of the audit's tests: 200 repetitions on synthetic profiles, and on models of SALMU-mini.

    python benchmarks/audit_test.py --out docs/results/audit_test.json \
        --config configs/clip/retrieval_salmu_mini.yaml --models clean=… retrained=… vlul=… erase=… --shadows … …

Synthetic: 21 and 21 people of 20 pairs; a person's pairs share a part (standard deviation 0.5 of 1). SALMU-mini: false
alarms are 21 fresh people against 21 others, drawn each time from 336 whom no model saw; power is 14 of the forgotten
people, drawn each time, against 21 fresh people. The exchange test's false alarms are each retrained model against the
others.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from benchmarks.common import say, where  # noqa: E402
from lavis.audits.behaviour import Behaviour  # noqa: E402
from lavis.audits.hypothesis import never_test  # noqa: E402
from lavis.audits.kernel import People, exchange_test, joined, label_test, person_kernel  # noqa: E402
from lavis.audits.material import Material  # noqa: E402
from lavis.audits.subject import Subject  # noqa: E402
from lavis.common.files import write_json  # noqa: E402
from lavis.hub.preparing import builder_of  # noqa: E402
from lavis.settings.config import Config, load_config  # noqa: E402
from lavis.tasks.checkpoints import load_model  # noqa: E402

REPETITIONS, LEVEL, PERMUTATIONS = 200, 0.05, 99
PEOPLE, PAIRS, FEATURES, SHARED = 21, 20, 3, 0.5
FRESH, DRAWN = 336, 14
Draws = np.random.Generator


def people(draws: Draws, shift: float = 0.0, count: int = PEOPLE) -> People:
    """People whose pairs share a part, all shifted by this many standard deviations."""
    who = np.repeat(np.arange(count), PAIRS)
    own = SHARED * draws.standard_normal((count, FEATURES))[who]
    return People(own + np.sqrt(1 - SHARED**2) * draws.standard_normal((len(who), FEATURES)) + shift, who)


def control_alarm(draws: Draws, shift: float) -> bool:
    """Whether the control test finds people shifted by this much."""
    kernel = person_kernel(joined(people(draws, shift), people(draws)))
    return label_test(kernel, PEOPLE, draws, PERMUTATIONS) <= LEVEL


def exchange_alarm(draws: Draws, shift: float, models: int = 5) -> bool:
    """Whether the exchange test finds one of five models whose pairs are shifted by this much."""
    base = people(draws)
    samples = [base.of(base.rows + 0.5 * draws.standard_normal(base.rows.shape)) for _ in range(models)]
    samples[0] = samples[0].of(samples[0].rows + shift)
    return exchange_test(person_kernel(joined(*samples)), PEOPLE, draws, PERMUTATIONS) <= LEVEL


def rate(alarm: Callable[[Draws, float], bool], shift: float, repetitions: int = REPETITIONS) -> float:
    """The share of repetitions with an alarm."""
    return float(np.mean([alarm(np.random.default_rng([7, number]), shift) for number in range(repetitions)]))


def synthetic(repetitions: int = REPETITIONS) -> dict[str, Any]:
    """False alarms (shift 0) and power by shift, in standard deviations of a pair."""
    tests = {"control": (control_alarm, (0.0, 0.25, 0.5, 1.0)), "exchange": (exchange_alarm, (0.0, 0.05, 0.1, 0.2))}
    return {name: {str(s): rate(alarm, s, repetitions) for s in shifts} for name, (alarm, shifts) in tests.items()}


def on_models(config: Config, paths: dict[str, str], shadows: Sequence[str]) -> dict[str, Any]:
    """False alarms and power on these models."""
    builder, _ = builder_of(config)
    builder.prepare()
    with tempfile.TemporaryDirectory() as folder:
        material = Material(builder, Path(folder), fresh=FRESH)
        found = {}
        for name, path in paths.items():
            found[name] = model_rates(_behaviour(config, material, path), material)
            say(f"{name}: {found[name]}")
        never = [_behaviour(config, material, path) for path in shadows]
        return {"control": found, "exchange": exchange_alarms(config, material, paths, never)}


def _behaviour(config: Config, material: Material, path: str) -> Behaviour:
    return Subject(load_model(config.model, path), material, config.run, torch.device("cpu")).behaviour


def model_rates(one: Behaviour, material: Material) -> dict[str, float]:
    """The control test's false alarms and power on one model, over REPETITIONS draws of people."""
    assert material.control is not None
    asked, fresh = People(one.profile, material.asked.who), People(one.control_profile, material.control.who)
    alarms, found = [], []
    for number in range(REPETITIONS):
        draws = np.random.default_rng([11, number])
        order = draws.permutation(fresh.count)
        first, second = fresh.take(order[:PEOPLE]), fresh.take(order[PEOPLE : 2 * PEOPLE])
        alarms.append(label_test(person_kernel(joined(first, second)), PEOPLE, draws, PERMUTATIONS) <= LEVEL)
        some = asked.take(draws.permutation(asked.count)[:DRAWN])
        found.append(label_test(person_kernel(joined(some, second)), some.count, draws, PERMUTATIONS) <= LEVEL)
    return {"false_alarms": float(np.mean(alarms)), "shown": float(np.mean(found))}


def exchange_alarms(
    config: Config, material: Material, paths: dict[str, str], never: list[Behaviour]
) -> dict[str, dict[str, float]]:
    """p of the exchange test: each retrained model against the others, and each model against all of them."""
    if len(never) < 2:
        return {}
    who = material.asked.who
    rest = {f"retrained {n}": (one, never[:n] + never[n + 1 :]) for n, one in enumerate(never)}
    rest |= {name: (_behaviour(config, material, path), never) for name, path in paths.items() if name != "retrained"}
    return {name: {"p": never_test(one, others, who, 42, None)["p"]} for name, (one, others) in rest.items()}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Size and power of the audit's tests.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", help="the experiment of the models")
    parser.add_argument("--models", nargs="+", default=[], metavar="NAME=CHECKPOINT")
    parser.add_argument("--shadows", nargs="+", default=[], metavar="CHECKPOINT", help="models retrained without Df")
    args = parser.parse_args(argv)
    content = {"level": LEVEL, "repetitions": REPETITIONS, "synthetic": synthetic()}
    say(str(content))
    if args.config:
        paths = dict(one.split("=", 1) for one in args.models)
        content["salmu_mini"] = on_models(load_config(args.config), paths, args.shadows)
    write_json(args.out, {**content, "where": where()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
