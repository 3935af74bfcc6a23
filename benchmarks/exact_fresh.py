"""Distillation into a fresh text tower for as long as retraining takes, the upper bound of the idea, and UNDO.

    python benchmarks/exact_fresh.py --work output/exact --out docs/results/exact_forgetting --jobs 2

Planted people of the search's world are forgotten, so that no reported split is read. `redistill` starts from a whole
untrained text tower and has a counterfactual teacher; UNDO (arXiv 2506.06278) distils an unlearned model into a noised
copy of itself. Both get 30, 60 and 100 % of retraining's steps. They are compared with the compromised model, with the
unlearned one, and with one that was trained without the planted people's pairs. The numbers go to `<out>_fresh.json`,
and the study's page gets a section from them. Finished parts are files below --work.
"""

from __future__ import annotations

import concurrent.futures
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.common import say, where  # noqa: E402
from benchmarks.exact_forgetting import DEVELOPMENT, NO_RESET, SPACES, STEPS, attacked, unlearned  # noqa: E402
from benchmarks.exact_fresh_page import fresh_file  # noqa: E402
from benchmarks.exact_page import COMMON, write_page  # noqa: E402
from benchmarks.exact_worlds import FROM_THE_START, World, run_timed, study_parser, train_original, trained_in  # noqa: E402
from lavis.common.files import read_json, write_json  # noqa: E402
from lavis.common.registry import registry  # noqa: E402
from lavis.settings.config import load_config  # noqa: E402
from lavis.synthetic.mini.plan import PROXIES  # noqa: E402

SHARES = (0.3, 0.6, 1.0)  # of retraining's steps
NOISE = 0.6  # UNDO's: share of untrained weights in the unlearned model's text tower
SUPPRESSED = (*COMMON, *SPACES["cpd_level"][1], NO_RESET)  # UNDO's unlearned model: the search's lowest score
FRESH = (*COMMON, "run.warmup_steps=50", "run.method_args.fresh_tokens=true")
UNDO = (
    *("run.method_args.imitate=true", f"run.method_args.fresh={NOISE}", "run.method_args.after=1"),
    "run.weights.level=0",
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """A run of redistill: its name, its options, the checkpoint it starts from, and its share of retraining's steps."""

    name: str
    options: tuple[str, ...]
    start: Path
    share: float


def without(world: World) -> tuple[Path, int]:
    """The folder and the steps of a model trained on all but the planted people's pairs that are to be forgotten."""
    config, place = load_config(world.config(), job=["original", "retrained"]), world.folder / "without"
    kept = [path for path in config.dataset.build_info.annotations["proxy"].storage if Path(path).stem != PROXIES[0]]
    files = f"datasets.{world.dataset}.build_info.annotations.proxy.storage=[{','.join(kept)}]"
    epochs = config.run.max_epoch
    settings = [files, f"run.output_dir={place}", f"run.max_epoch={epochs}", "run.reference=compromised"]
    marker = world.folder / "without.json"
    run_timed(["train.py", "--cfg-path", str(world.config()), "--options", *FROM_THE_START, *settings], marker)
    splits = ("train", "holdout_identity", "holdout_association")
    paths = [*(world.folder / "data" / "annotations" / f"{split}.json" for split in splits), *map(Path, kept)]
    pairs = sum(len(read_json(path, "annotation file")) for path in paths)
    return trained_in(place), epochs * math.ceil(pairs / config.run.batch_size_train)


def trials(world: World, suppressed: Path) -> list[Trial]:
    """redistill from the original, then UNDO from the unlearned model, each for all SHARES, longest first."""
    kinds = {"redistill": (FRESH, world.original()), "UNDO": ((*FRESH, *UNDO), suppressed)}
    return [Trial(name, *kind, share) for share in sorted(SHARES, reverse=True) for name, kind in kinds.items()]


def tried(world: World, trial: Trial, steps: int, cost: float) -> Row:
    """The numbers of a trial; steps, cost: retraining's steps and CPU seconds."""
    name, own = f"proxies-{trial.name}-{trial.share:g}", round(trial.share * steps)
    folder = unlearned(world, name, "redistill", trial.options, own, proxies=True, start=trial.start)
    spent = world.spent(f"run-{name}")
    row = {"name": trial.name, "share": trial.share, "steps": own, "cpu_share": spent / cost}
    row |= {"options": list(trial.options), **attacked(world, name, folder, proxies=True)}
    say(f"{name}: {spent:.0f} s")
    return row


def study(work: Path, jobs: int) -> Row:
    """All models of the search's world, with their numbers."""
    world = World(work, *DEVELOPMENT)
    train_original(world, "compromised")
    retrained, steps = without(world)
    cost = world.spent("without")
    suppressed = unlearned(world, "proxies-suppressed", "cpd_level", SUPPRESSED, STEPS, proxies=True)
    known = {"compromised": world.original(), "retrained": retrained, "cpd_level-no-reset": suppressed}
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(tried, world, trial, steps, cost) for trial in trials(world, suppressed)]
        models = [
            {"name": name, **attacked(world, f"proxies-{name}", folder, proxies=True)} for name, folder in known.items()
        ]
        rows = sorted((run.result() for run in runs), key=lambda row: (row["name"] == "UNDO", row["share"]))
    return {"world": world.name, "retraining_steps": steps, "retraining_cpu_seconds": cost, "rows": [*models, *rows]}


def main(argv: Sequence[str] | None = None) -> int:
    registry.discover()
    args = study_parser("Distillation into a fresh text tower, and UNDO.").parse_args(argv)
    write_json(fresh_file(args.out), {**study(args.work, args.jobs), "where": where()})
    write_page(read_json(args.out.with_suffix(".json"), "study"), args.out.with_suffix(".md"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
