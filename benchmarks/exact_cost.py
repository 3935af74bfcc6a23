"""What the study's methods cost by count: floating-point operations of a run, as a share of retraining's.

    python benchmarks/exact_cost.py --work output/exact --out docs/results/exact_forgetting_cost.json

CPU seconds depend on what else a machine does; operations do not. Counted are the matrix products and attention of one
step on the development world, forward and backward, times the steps of a run on a data set with mini's counts. The
optimiser is not counted, nor are stored embeddings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from benchmarks.common import say, where  # noqa: E402
from benchmarks.exact_forgetting import DEVELOPMENT, PUBLISHED_STEPS, SPACES, STEPS  # noqa: E402
from benchmarks.exact_page import COMMON, PUBLISHED  # noqa: E402
from benchmarks.exact_worlds import World  # noqa: E402
from lavis.common.checkpoint import BEST  # noqa: E402
from lavis.common.files import write_json  # noqa: E402
from lavis.common.registry import registry  # noqa: E402
from lavis.runners.feed import Feed  # noqa: E402
from lavis.runners.loop import TrainingLoop  # noqa: E402
from lavis.runners.teaching import build_teacher  # noqa: E402
from lavis.settings.config import load_config  # noqa: E402
from lavis.tasks.entry import jobs_of  # noqa: E402

RETRAINING = 18 * 52  # steps of 64 pairs: 18 epochs of mini's 3,370 pairs, whole batches alone


def step_operations(world: World, method: str, options: Sequence[str]) -> int:
    """Operations of a method's second step; the first also computes what is stored."""
    settings = ["run.evaluate_after=false", "run.frozen_prefixes=never", f"run.output_dir={world.folder / 'cost'}"]
    config = load_config(world.config(proxies=True), [*settings, *options], job=jobs_of(method), method=method)
    task = registry.get_task_class(config.run.task)(config)
    start = world.original() / BEST
    with task.session(str(start)):
        model = registry.get_model_class(config.model.arch).from_config(config.model, load_pretrained=False)
        model.load_weights(start)
        trainer = registry.get_trainer_class(method)(method, model, config.run, task.device)
        feed = Feed(task.unlearning_sets(trainer), model, config.run, task.device)
        if trainer.needs_teacher:
            trainer.attach_teacher(build_teacher(model, feed, sides=trainer.teacher_sets))
        loop, batches = TrainingLoop(trainer, lambda epoch, step: 0.0), feed.batches(0, 0)
        trainer.begin()
        loop.step(batches, 0, 0)
        with FlopCounterMode(display=False) as counter:
            loop.step(batches, 0, 1)
    return counter.get_total_flops()


def costs(world: World) -> dict[str, Any]:
    """By method: operations of a step and of a run, and the share of retraining's."""
    runs = {"retrain": ((), RETRAINING)}
    runs |= {method: ((), PUBLISHED_STEPS) for method in PUBLISHED}
    runs |= {method: ((*COMMON, *space[0]), STEPS) for method, space in SPACES.items()}
    steps = {name: (step_operations(world, name, options), count) for name, (options, count) in runs.items()}
    whole = steps["retrain"][0] * steps["retrain"][1]
    return {
        name: {"step_gflop": round(one / 1e9, 3), "steps": count, "share": round(one * count / whole, 3)}
        for name, (one, count) in steps.items()
    }


def main(argv: Sequence[str] | None = None) -> int:
    registry.discover()
    parser = argparse.ArgumentParser(description="Operations of the study's methods.")
    parser.add_argument("--work", type=Path, required=True, help="the study's folder, with its development world")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = costs(World(args.work, *DEVELOPMENT))
    write_json(args.out, {"methods": found, "where": where()})
    say("\n".join(f"{name}: {one}" for name, one in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
