"""Puts right the CPU times of a study whose commands ran side by side before each was counted alone.

    python benchmarks/exact_times.py --work output/exact --out docs/results/exact_forgetting --separate web-102
    python benchmarks/exact_times.py --work output/exact --out docs/results/exact_forgetting --again search web-102

Until commit 1474c94 the stored time of a command included, with --jobs 2, those of all commands that ended while it
ran. `--separate` takes them out: when each began and ended is known, so that the times follow one from the other, the
first to end first. It needs the world's folder below --work. `--again` runs the training commands of a world, or those
of the search, and takes their times; no other number is touched.
"""

from __future__ import annotations

import concurrent.futures
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import say  # noqa: E402
from benchmarks.exact_forgetting import DEVELOPMENT, STEPS, runs_of, unlearned, worlds  # noqa: E402
from benchmarks.exact_page import world_name, write_page  # noqa: E402
from benchmarks.exact_worlds import World, study_parser, train_original  # noqa: E402
from lavis.common.files import read_json, write_json  # noqa: E402
from lavis.common.registry import registry  # noqa: E402

SEARCH = "search"
HANDOVER = 0.15  # seconds: a command that ended this shortly after another began was the one before it
Row = dict[str, Any]


class Timing(NamedTuple):
    """A command's counted CPU seconds, and when it began and ended."""

    name: str
    counted: float
    began: float
    ended: float


def separated(timings: Iterable[Timing]) -> dict[str, float]:
    """The CPU seconds of each command alone. Raises ValueError if one has more than its seconds by the clock."""
    own: dict[str, float] = {}
    before: list[Timing] = []
    for timing in sorted(timings, key=lambda one: one.ended):
        inside = [one.name for one in before if one.ended > timing.began + HANDOVER]
        own[timing.name] = timing.counted - sum(own[name] for name in inside)
        before.append(timing)
        if not 0 < own[timing.name] <= 1.05 * (timing.ended - timing.began):
            raise ValueError(f"{timing.name}: {own[timing.name]:.1f} CPU seconds cannot be its own; use --again")
    return own


def stored(world: World) -> list[Timing]:
    """The timings in a world's folder; a file is written when its command ends."""
    found = []
    for path in sorted(world.folder.glob("*.json")):
        facts = read_json(path, "timing")
        if "cpu_seconds" in facts:
            ended = path.stat().st_mtime
            found.append(Timing(path.stem, facts["cpu_seconds"], ended - facts["seconds"], ended))
    return found


def measured(world: World, finalists: Sequence[Row], jobs: int) -> dict[str, float]:
    """CPU seconds of a world's training commands, run now unless their timings are there."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(lambda name: train_original(world, name), ("compromised", "retrained")))
        list(pool.map(lambda run: unlearned(world, *run), runs_of(finalists)))
    return {one.name: one.counted for one in stored(world)}


def of_world(row: Row, times: Mapping[str, float]) -> None:
    """Put a world's times into its numbers."""
    row["retraining_cpu_seconds"] = round(times["retrained"], 1)
    for name, model in row["models"].items():
        if "cpu_share" in model:
            model["cpu_share"] = times[f"run-{name}"] / times["retrained"]


def of_search(work: Path, search: Row, jobs: int) -> None:
    """Run the search's settings again, and put their times into its rows."""
    world = World(work, *DEVELOPMENT)
    train_original(world, "compromised")

    def spent(number: int, row: Row) -> float:
        unlearned(world, f"times-{number}", row["method"], row["options"], STEPS, proxies=True)
        return world.spent(f"run-times-{number}")

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        times = list(pool.map(spent, *zip(*enumerate(search["rows"]), strict=True)))
    known = {(row["method"], *row["options"]): time for row, time in zip(search["rows"], times, strict=True)}
    for row in [*search["rows"], *search["finalists"]]:
        row["cpu_seconds"] = known[(row["method"], *row["options"])]


def main(argv: Sequence[str] | None = None) -> int:
    registry.discover()
    parser = study_parser("Put the CPU times of the study of exact forgetting right.")
    parser.add_argument("--separate", nargs="*", default=[], help="worlds whose stored times are separated")
    parser.add_argument("--again", nargs="*", default=[], help=f"worlds, or {SEARCH}, whose commands are repeated")
    args = parser.parse_args(argv)
    file, known = args.out.with_suffix(".json"), {world.name: world for world in worlds(args.work)}
    content = read_json(file, "study")
    rows = {world_name(row): row for row in content["worlds"]}
    for name in args.separate:
        of_world(rows[name], separated(stored(known[name])))
    for name in args.again:
        if name == SEARCH:
            of_search(args.work, content[SEARCH], args.jobs)
        else:
            of_world(rows[name], measured(known[name], content[SEARCH]["finalists"], args.jobs))
        say(f"{name}: measured again")
    write_json(file, content)
    write_page(read_json(file, "study"), args.out.with_suffix(".md"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
