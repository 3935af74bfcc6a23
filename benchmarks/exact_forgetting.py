"""The study of exact forgetting: worlds, one search on planted people, runs, attacks, and a page with what came out.

    python benchmarks/exact_forgetting.py --work output/exact --out docs/results/exact_forgetting --jobs 2

docs/results/exact_forgetting_plan.md was committed before anything was evaluated on a reported split. Every finished
part has a file below --work, and what the JSON file has, the search and worlds, is not repeated, so that the same
command goes on where it was interrupted, on another machine, too; --again begins from nothing. Worlds come seed by
seed, so that a study that is not finished is balanced. The page is written after each world; --page-only writes it from
the JSON file.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import say, where  # noqa: E402
from benchmarks.exact_page import COMMON, PUBLISHED, world_name, write_page  # noqa: E402
from benchmarks.exact_worlds import FROM_THE_START, World, area, run_timed, study_parser, train_original  # noqa: E402
from lavis.common.checkpoint import BEST  # noqa: E402
from lavis.common.files import read_json, write_json  # noqa: E402
from lavis.common.registry import registry  # noqa: E402
from lavis.report.verdicts import distance  # noqa: E402

VARIANTS = ("shared_names", "paraphrased", "plain", "web")
SEEDS = (101, 102, 103)
DEVELOPMENT = ("shared_names", 40)  # the search's world: its seed is in no reported one
STEPS, PUBLISHED_STEPS, HALF = 280, 520, 16  # optimiser steps, and pairs of Df in each
SPACES: dict[str, tuple[tuple[str, ...], ...]] = {
    "cpd_reset": ((), ("run.method_args.neurons=0.1",)),
    "cpd_level": (("run.weights.level=0.5",), ("run.weights.level=2",)),
    "cpd_images": (
        ("run.weights.level=0.5", "run.method_args.pictured=8"),
        ("run.weights.level=2", "run.method_args.pictured=8", "run.weights.image_retain=8"),
    ),
    "cpd_relearn": ((), ("run.method_args.rate=1",)),
    "cpd_apart": ((), ("run.method_args.noise=0.2",)),
    "redistill": (("run.method_args.fresh=0.5",), ()),
}
SECOND, FINALISTS = 3, 2  # methods whose second setting is tried, too; those on reported worlds
NO_RESET = "run.method_args.after=1"
METRICS = "run.metrics=[retrieval,cosine,salmubench]"
Row = dict[str, Any]


def unlearned(
    world: World,
    name: str,
    method: str,
    options: Sequence[str],
    steps: int,
    proxies: bool = False,
    start: Path | None = None,
) -> Path:
    """The run folder of a method on a world; the CPU time is in `<name>.json` next to the world's other timings.

    start: the run folder of the model to begin with (default: the world's original).
    """
    config, marker = world.config(proxies), world.folder / f"run-{name}.json"
    size = world.forget_size(proxies)
    words = ["unlearn.py", "--unlearn_method", method, "--backbone", "clip", "--task", world.job]
    words += ["--df_size", str(size), "--cfg-path", str(config), "--options", *options]
    words += [f"run.max_epoch={max(1, round(steps / -(-size // HALF)))}", *FROM_THE_START]
    words += [f"run.resume_ckpt_path={(start or world.original()) / BEST}", f"run.subfolder={name}"]
    run_timed(words, marker)
    return world.run_folder(method, name, proxies)


def evaluated(world: World, name: str, folder: Path) -> Row:
    """The benchmark's metrics of a run, by evaluate.py. Raises ValueError if it was trained again since."""
    words = ["evaluate.py", "--cfg-path", str(world.config()), "--options", f"run.checkpoint={folder / BEST}", METRICS]
    marker = world.folder / f"evaluated-{name}.json"
    run_timed(words, marker)
    if not (metrics := read_json(folder / "results.json", "results")["metrics"]):
        raise ValueError(f"{folder} was trained again after its evaluation; delete {marker} and repeat the command")
    return metrics


def attacked(world: World, name: str, folder: Path, proxies: bool = False) -> Row:
    """Relearning and the other ways back, by exact_measures.py."""
    out = world.folder / f"attacked-{name}.json"
    words = ["benchmarks/exact_measures.py", str(world.root), world.variant, f"--seed={world.seed}", str(folder / BEST)]
    run_timed([*words, str(out), *(["--proxies"] if proxies else [])], world.folder / f"attacking-{name}.json")
    return read_json(out, "attacks")


def shortfall(row: Row, before: Row) -> float:
    """The search's score of what was measured on proxies, less is better: the plan's equation."""
    values = [abs(value - 0.5) for value in row["values"].values()]
    lost = [max(0.0, before[key] - row[key]) for key in ("others", "r1")]
    return area(row) + sum(values) / len(values) + sum(lost)


def search(work: Path, jobs: int = 1) -> dict[str, Any]:
    """The finalists, by proxies of the development world: first settings, the better methods' second, no reset."""
    world = World(work, *DEVELOPMENT)
    train_original(world, "compromised")
    before = attacked(world, "proxies-compromised", world.original(), proxies=True)

    def tried(number: int, settings: Mapping[str, Sequence[str]]) -> list[Row]:
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(lambda one: _tried(world, number, *one, before), settings.items()))

    rows = tried(0, {method: [*COMMON, *space[0]] for method, space in SPACES.items()})
    better = [row["method"] for row in sorted(rows, key=_score)[:SECOND]]
    rows += tried(1, {method: [*COMMON, *SPACES[method][1]] for method in better})
    rows += tried(2, {row["method"]: [*row["options"], NO_RESET] for row in _best(rows)})
    found = {"world": world.name, "before": before, "rows": rows, "finalists": _finalists(rows)}
    return found | {"commit": where()["commit"]}


def _best(rows: Sequence[Row]) -> list[Row]:
    """The best setting of each of the FINALISTS best methods."""
    best: dict[str, Row] = {}
    for row in sorted(rows, key=_score):
        best.setdefault(row["method"], row)
    return list(best.values())[:FINALISTS]


def _finalists(rows: Sequence[Row]) -> list[Row]:
    """The two best methods, each with its best setting that resets rows and with the one that does not."""
    methods, kinds = [row["method"] for row in _best(rows)], (False, True)
    pairs = [(method, kind) for method in methods for kind in kinds]
    return [next(r for r in sorted(rows, key=_score) if (r["method"], NO_RESET in r["options"]) == p) for p in pairs]


def _tried(world: World, number: int, method: str, options: Sequence[str], before: Row) -> Row:
    """The numbers and the score of a method's setting of this number."""
    name = f"proxies-{method}-{number}"
    folder = unlearned(world, name, method, options, STEPS, proxies=True)
    row = attacked(world, name, folder, proxies=True)
    cost = world.spent(f"run-{name}")
    label = f"{method}-no-reset" if NO_RESET in options else method
    found = {"method": method, "name": label, "options": options, "score": shortfall(row, before), "cpu_seconds": cost}
    found |= row
    say(f"{name}: {found['score']:.3f}, {cost:.0f} s")
    return found


def _score(row: Row) -> float:
    return row["score"]


def studied(world: World, finalists: Sequence[Row], jobs: int = 1) -> Row:
    """All models of a world with their numbers."""
    names = ("compromised", "retrained")
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        timings = dict(zip(names, pool.map(lambda name: train_original(world, name), names), strict=True))
        cost = timings["retrained"]["cpu_seconds"]
        tasks = [lambda name=name: (name, _measured(world, name, world.original(name))) for name in names]
        tasks += [lambda run=run: _run(world, run, cost) for run in runs_of(finalists)]
        models = dict(pool.map(lambda task: task(), tasks))
    for model in models.values():
        model["distance"] = distance(model["metrics"], models["retrained"]["metrics"])
    say(f"{world.name}: done")
    return {"variant": world.variant, "seed": world.seed, "retraining_cpu_seconds": cost, "models": models}


def runs_of(finalists: Sequence[Row]) -> Iterator[tuple[str, str, Sequence[str], int]]:
    """(name, method, options, steps)"""
    yield from ((row["name"], row["method"], row["options"], STEPS) for row in finalists)
    yield from ((method, method, (), PUBLISHED_STEPS) for method in PUBLISHED)


def _run(world: World, run: tuple[str, str, Sequence[str], int], cost: float) -> tuple[str, Row]:
    """A method's name and numbers; cost: the CPU seconds of retraining."""
    name, method, options, steps = run
    folder = unlearned(world, name, method, options, steps)
    spent = world.spent(f"run-{name}")
    return name, _measured(world, name, folder, method not in PUBLISHED) | {"cpu_share": spent / cost}


def _measured(world: World, name: str, folder: Path, attacking: bool = True) -> Row:
    metrics = evaluated(world, name, folder)
    found = {"metrics": {key: metrics[key] for key in sorted(metrics)}}
    return found | (attacked(world, name, folder) if attacking and name != "compromised" else {})


def worlds(work: Path) -> list[World]:
    """The reported worlds, seed by seed."""
    return [World(work, variant, seed) for seed in SEEDS for variant in VARIANTS]


def finish(content: Mapping[str, Any], out: Path) -> None:
    """Write the JSON file and the page."""
    write_json(out.with_suffix(".json"), content)
    write_page(read_json(out.with_suffix(".json"), "study"), out.with_suffix(".md"))


def begun(args: argparse.Namespace) -> Row:
    """What the JSON file has, or a new study with its search."""
    file, planned = args.out.with_suffix(".json"), [world.name for world in worlds(args.work)]
    if file.is_file() and not args.again:
        content = read_json(file, "study")
        if content["planned"] != planned:
            raise ValueError(f"{file}: its worlds are not those of this plan; --again begins a new study")
        return content
    return {"planned": planned, "search": search(args.work, args.jobs), "worlds": [], "where": where()}


def study(args: argparse.Namespace) -> None:
    """The search, then the worlds that are missing; what is there is written after each part."""
    content = begun(args)
    finish(content, args.out)
    for world in worlds(args.work):
        there = [world_name(one) for one in content["worlds"]]
        if world.name in there or (args.only and world.name not in args.only):
            continue
        found = studied(world, content["search"]["finalists"], args.jobs)
        content["worlds"].append(found | {"commit": where()["commit"]})
        content["worlds"].sort(key=lambda one: content["planned"].index(world_name(one)))
        finish(content, args.out)


def main(argv: Sequence[str] | None = None) -> int:
    registry.discover()
    parser = study_parser("The study of exact forgetting.")
    parser.add_argument("--only", nargs="*", default=[], help="these worlds, such as web-101 (all by default)")
    parser.add_argument("--again", action="store_true", help="repeat what the JSON file already has")
    parser.add_argument("--page-only", action="store_true", help="write the page of a JSON file again")
    args = parser.parse_args(argv)
    if args.page_only:
        write_page(read_json(args.out.with_suffix(".json"), "study"), args.out.with_suffix(".md"))
        return 0
    study(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
